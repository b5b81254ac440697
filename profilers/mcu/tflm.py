"""TensorFlow Lite Micro on this machine: what it needs of a microcontroller's memory.

The recording allocator reports the arena. Its head (activations and scratch buffers) is the same on a
Cortex-M; its tail (persistent structures) is larger here, because pointers have 64 bits.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

from tflite.BuiltinOperator import BuiltinOperator

from perfsage.device import Device
from perfsage.errors import MissingExtraError
from perfsage.graph import Graph
from perfsage.measurement import Mode
from perfsage.metrics import Metric
from profilers.outcomes import Recorder
from profilers.pooled import PooledProfiler
from profilers.profiler import Model, Outcome, Plan
from profilers.workers import WorkerPool

_NO_TIME = (
    "TFLM's reference kernels run on the host's CPU; their time and energy say nothing about a "
    "microcontroller"
)
# Untouched pages cost nothing, and TFLM crashes in some arenas that are too small for its tail.
_FIRST_ARENA_BYTES = 64 << 20
_MAX_ARENA_BYTES = 1 << 30


def describe_tflm(name: str = "tflm") -> Device:
    """Return the device, without importing TFLM."""
    try:
        version = importlib.metadata.version("tflite-micro")
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("tflite-micro", "profilers") from None
    return Device(
        name=name,
        kind="mcu",
        description="TensorFlow Lite Micro's memory plan, 64-bit pointers",
        metrics={Metric.PEAK_MEMORY_BYTES: "arena_total", Metric.STORAGE_BYTES: "model_file"},
        unavailable={Metric.LATENCY_MS: _NO_TIME, Metric.ENERGY_MJ: _NO_TIME},
        tool="tflite-micro",
        tool_version=version,
    )


def open_tflm(name: str = "tflm", *, pool: WorkerPool | None = None, workers: int = 1) -> TflmProfiler:
    """Return the profiler, with `workers` processes of its own unless a pool is lent."""
    return TflmProfiler(describe_tflm(name), pool=pool, workers=workers)


class TflmProfiler(PooledProfiler):
    """Loads models into TFLM in worker processes; further definitions: `arena_head`, `arena_tail`."""

    tool = "TFLM"
    task = "profilers.mcu.tasks:plan_memory"
    mode = Mode.MEASURED

    def arguments(self, model: Model, plan: Plan) -> dict[str, Any]:
        """Return the arena to begin with (option `arena_bytes`), the largest to try, and the variables."""
        first = int(plan.options.get("arena_bytes", _FIRST_ARENA_BYTES))
        return {
            "arena_bytes": first,
            "max_arena_bytes": max(first, _MAX_ARENA_BYTES),
            "resource_variables": _resource_variables(model.graph),
        }

    def record(self, recorder: Recorder, answer: dict[str, Any], plan: Plan) -> Outcome:
        """Turn the allocator's report into measurements."""
        recorder.conditions = {"runtime": "tflm", "pointer_bits": 64}
        recorder.add(Metric.PEAK_MEMORY_BYTES, answer["total"])
        recorder.add(Metric.PEAK_MEMORY_BYTES, answer["head"], definition="arena_head")
        recorder.add(Metric.PEAK_MEMORY_BYTES, answer["tail"], definition="arena_tail")
        recorder.add(Metric.STORAGE_BYTES, len(recorder.model.data))
        return recorder.outcome()

    def explain(self, recorder: Recorder, reason: str) -> str:
        """Name the custom operators, which TFLM's message calls just CUSTOM."""
        custom = sorted({operator.type for operator in recorder.model.graph.operators if operator.is_custom})
        return reason.replace("CUSTOM", f"CUSTOM ({', '.join(custom)})") if custom else reason


def _resource_variables(graph: Graph) -> int:
    """Count the distinct names of variables, looking at operators only where a column says there are some."""
    names = {
        operator.attributes.get("shared_name")
        for subgraph in graph.subgraphs
        if (subgraph.columns.operator_type == BuiltinOperator.VAR_HANDLE).any()
        for operator in subgraph.operators
        if operator.type == "VAR_HANDLE"
    }
    return len(names)
