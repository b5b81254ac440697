"""Measuring a batch of models on the host: load all, visit them in turn several times, drop all."""

from __future__ import annotations

import fcntl
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profilers.host.alignment import Kernel, OperatorTime, operator_times
from profilers.profiler import Model, Plan
from profilers.workers import Job, Reply, WorkerPool

_keys = itertools.count()
_DEFAULT_SPREAD_S = 0.25


@dataclass(slots=True)
class BatchEntry:
    """One model of a batch and what has been measured so far."""

    model: Model
    key: str = field(default_factory=lambda: str(next(_keys)))
    visits_ms: list[float] = field(default_factory=list)
    visits_mj: list[float] = field(default_factory=list)
    runs: int = 0
    visited_at: list[float] = field(default_factory=list)
    init_ms: float = 0.0
    first_inference_ms: float = 0.0
    heap_bytes: int = 0
    delegate_partitions: int = 0
    operators: list[OperatorTime] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str | None = None
    unsupported: str | None = None

    @property
    def alive(self) -> bool:
        """Whether measuring goes on."""
        return self.failure is None and self.unsupported is None

    def conditions(self, plan: Plan) -> dict[str, str | int | float | bool]:
        """Return how the model was measured."""
        gaps = [later - earlier for earlier, later in itertools.pairwise(self.visited_at)]
        delegated = sum(operator.delegated for operator in self.operators)
        return {
            "runtime": "litert",
            "delegate": "xnnpack" if _xnnpack(plan) else "none",
            "delegate_partitions": self.delegate_partitions,
            **({"delegated_operators": delegated} if self.operators else {}),
            "threads": plan.threads,
            "batch": 1,
            "visits": len(self.visits_ms),
            "visit_ms": plan.visit_ms,
            "visit_spacing_s": round(min(gaps), 3) if gaps else 0.0,
            "runs": self.runs,
        }

    def noise(self) -> dict[str, float]:
        """Return two relative spreads of the visits: all of them, and the two fastest."""
        ordered = sorted(self.visits_ms)
        if len(ordered) < 2:
            return {}
        variation = statistics.stdev(ordered) / statistics.fmean(ordered)
        return {"visit_cv": round(variation, 4), "noise": round(ordered[1] / ordered[0] - 1, 4)}


def measure_batch(
    pool: WorkerPool, models: Sequence[Model], plan: Plan, cpus: Sequence[int]
) -> Iterator[BatchEntry]:
    """Yield an entry a model, in order, when the whole batch has been measured."""
    entries = [BatchEntry(model) for model in models]
    try:
        for entry in entries:
            _load(pool, entry, plan)
        for visit in range(plan.visits):
            begin = time.monotonic()
            for entry in entries:
                if entry.alive:
                    with _alone(cpus):
                        _visit(pool, entry, plan)
            if visit + 1 < plan.visits and any(entry.alive for entry in entries):
                time.sleep(max(0.0, _spread_s(plan) - (time.monotonic() - begin)))
        for entry in entries:
            if entry.alive and plan.per_operator:
                _operators(pool, entry, plan)
    finally:
        for entry in entries:
            pool.submit(_job("drop", entry, plan, with_data=False))
    yield from entries


def _load(pool: WorkerPool, entry: BatchEntry, plan: Plan) -> None:
    answer = _answer(pool.run(_job("load", entry, plan)), entry)
    if answer:
        entry.init_ms = answer["init_ms"]
        entry.first_inference_ms = answer["first_inference_ms"]
        entry.heap_bytes = answer["heap_bytes"]
        entry.delegate_partitions = answer["delegate_partitions"]
        entry.notes = list(answer["notes"])


def _visit(pool: WorkerPool, entry: BatchEntry, plan: Plan) -> None:
    answer = _answer(pool.run(_job("visit", entry, plan, with_data=False)), entry)
    if answer and answer.get("missing"):  # another model crashed the worker since
        if _answer(pool.run(_job("load", entry, plan)), entry) is None:
            return
        answer = _answer(pool.run(_job("visit", entry, plan, with_data=False)), entry)
    if answer and "best_ms" in answer:
        entry.visits_ms.append(answer["best_ms"])
        entry.visited_at.append(time.monotonic())
        entry.runs += answer["runs"]
        if "energy_mj" in answer:
            entry.visits_mj.append(answer["energy_mj"])


def _operators(pool: WorkerPool, entry: BatchEntry, plan: Plan) -> None:
    """Add the profile of operators; without one the model's other figures stand, with a note."""
    reply = pool.run(_job("profile", entry, plan, module="operators"))
    if reply.value is None:
        entry.notes.append(f"no profile of operators: {reply.failure or reply.unsupported}")
        return
    types = [operator.type for operator in entry.model.graph.subgraphs[0].operators]
    kernels = [Kernel(*event) for event in reply.value["events"]]
    entry.operators, left_us = operator_times(kernels, types)
    if left_us >= 1:
        entry.notes.append(f"{left_us:.0f} us of the profile belong to no operator that could be told")


def _answer(reply: Reply, entry: BatchEntry) -> dict[str, Any] | None:
    entry.failure, entry.unsupported = reply.failure, reply.unsupported
    return reply.value


def _job(task: str, entry: BatchEntry, plan: Plan, *, with_data: bool = True, module: str = "tasks") -> Job:
    arguments = {
        "key": entry.key,
        "threads": plan.threads,
        "xnnpack": _xnnpack(plan),
        "visit_ms": plan.visit_ms,
        "visits": plan.visits,
    }
    return Job(
        tool="LiteRT",
        task=f"profilers.host.{module}:{task}",
        data=entry.model.data if with_data else b"",
        arguments=arguments,
        timeout_s=plan.timeout_s,
        memory_limit_bytes=plan.memory_limit_bytes,
    )


def _xnnpack(plan: Plan) -> bool:
    return bool(plan.options.get("xnnpack", True))


def _spread_s(plan: Plan) -> float:
    return float(plan.options.get("spread_s", _DEFAULT_SPREAD_S))


@contextmanager
def _alone(cpus: Sequence[int]) -> Iterator[None]:
    """Hold a lock for the cores, so that two runs of PerfSAGE on this machine do not measure each other."""
    name = f"perfsage-{os.getuid()}-cpu{'-'.join(map(str, cpus))}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(Path(tempfile.gettempdir(), name), flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
