"""Times of operators on the host, from LiteRT's own profiler: the part that runs in the worker process."""

from __future__ import annotations

import time
from typing import Any

from profilers.host.litert_c import CPU_OPERATOR, DELEGATE_KERNEL, CompiledModel, Event
from profilers.worker import UnsupportedError

_MAX_RUNS = 500
_Name = tuple[bytes, int, int]


def profile(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return `events`, [tag, whether XNNPACK's, index, mean microseconds], in order of execution.

    Runs as long as all visits of the model take together; the mean is over the faster half of the runs.
    LiteRT counts whole microseconds and drops the rest, so means are up to a microsecond low.
    """
    model = CompiledModel(data, threads=arguments["threads"], xnnpack=arguments["xnnpack"])
    try:
        model.run()
        names = _names(_operators(model.profiled_run()))
        runs = _runs(model, names, arguments["visit_ms"] * arguments["visits"] * 1e-3)
    finally:
        model.close()
    fastest = sorted(runs, key=sum)[: (len(runs) + 1) // 2]
    means = [sum(times) / len(fastest) for times in zip(*fastest, strict=True)]
    return {
        "events": [
            [tag.decode(errors="replace"), kind == DELEGATE_KERNEL, index, mean]
            for (tag, kind, index), mean in zip(names, means, strict=True)
        ]
    }


def _runs(model: CompiledModel, names: list[_Name], seconds: float) -> list[list[int]]:
    """Return the microseconds of every event of each run."""
    if not names:
        raise UnsupportedError("LiteRT's profiler reported no operator")
    runs: list[list[int]] = []
    end = time.perf_counter() + seconds
    while not runs or (time.perf_counter() < end and len(runs) < _MAX_RUNS):
        events = _operators(model.profiled_run())
        if _names(events) != names:
            raise UnsupportedError("LiteRT's profiler reports other operators from run to run")
        runs.append([event.elapsed_us for event in events])
    return runs


def _names(events: list[Event]) -> list[_Name]:
    return [(event.tag, event.type, event.index) for event in events]


def _operators(events: list[Event]) -> list[Event]:
    return [event for event in events if event.type in (CPU_OPERATOR, DELEGATE_KERNEL) and event.tag]
