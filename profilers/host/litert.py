"""The CPU of this machine, measured with LiteRT.

A shared machine is noisy for seconds at a time, so the figure is the minimum over visits that are spread in
time: models are measured in batches, visited in turn. Only one visit runs at a time on a core, machine-wide.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Sequence

from perfsage.device import Device
from perfsage.errors import MissingExtraError
from perfsage.measurement import Mode, OperatorRef, Statistic
from perfsage.metrics import Metric
from profilers.host.batch import BatchEntry, measure_batch
from profilers.host.machine import cpu_model, descriptors, machine_conditions
from profilers.host.rapl import energy_counters
from profilers.outcomes import Recorder, without_values
from profilers.profiler import Model, Outcome, Plan
from profilers.workers import WorkerPool

_BATCH_MODELS = 60
_BATCH_BYTES = 512 << 20
# glibc counts blocks in a thread's cache as used: what another model freed would lower this one's heap.
_COUNTABLE_HEAP = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
_NO_ENERGY = "the host has no energy counter that can be read (/sys/class/powercap)"


def describe_host(name: str = "host-cpu") -> Device:
    """Return this machine's CPU as a device, without importing LiteRT."""
    try:
        version = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("ai-edge-litert", "profilers") from None
    metrics = {
        Metric.LATENCY_MS: "wall_clock",
        Metric.PEAK_MEMORY_BYTES: "heap_peak",
        Metric.STORAGE_BYTES: "model_file",
    }
    measures_energy = bool(energy_counters())
    return Device(
        name=name,
        kind="cpu",
        description=f"{cpu_model()}, LiteRT with XNNPACK",
        metrics={**metrics, **({Metric.ENERGY_MJ: "cpu_package"} if measures_energy else {})},
        unavailable={} if measures_energy else {Metric.ENERGY_MJ: _NO_ENERGY},
        descriptors=descriptors(),
        tool="ai-edge-litert",
        tool_version=version,
    )


def open_host(name: str = "host-cpu") -> HostProfiler:
    """Return the profiler of this machine's CPU."""
    return HostProfiler(describe_host(name))


class HostProfiler:
    """Measures in one worker process, pinned to the last cores that this process may use.

    Options of the plan: `xnnpack` (default true), `spread_s`, the least time from one visit of a model to
    its next (default 0.25, so that a single model takes a second more than its visits).
    Further definitions: latency `init` and `first_inference`.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._pool: WorkerPool | None = None
        self._threads = 0

    def describe(self) -> Device:
        """Return the device; no worker is started."""
        return self._device

    def profile(self, models: Sequence[Model], plan: Plan) -> Iterator[Outcome]:
        """Yield one outcome a model, in order, batch by batch."""
        pool = self._ready(plan.threads)
        for batch in _batches(models):
            for entry in measure_batch(pool, batch, plan, self._cpus(plan.threads)):
                yield self._outcome(entry, plan)

    def close(self) -> None:
        """End the worker."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _ready(self, threads: int) -> WorkerPool:
        if self._pool is None or threads != self._threads:
            self.close()
            cpus = self._cpus(threads)
            self._pool = WorkerPool(1, cpus=[cpus], name=self._device.name, environment=_COUNTABLE_HEAP)
            self._threads = threads
        return self._pool

    @staticmethod
    def _cpus(threads: int) -> tuple[int, ...]:
        return tuple(sorted(os.sched_getaffinity(0))[-max(1, threads) :])

    def _outcome(self, entry: BatchEntry, plan: Plan) -> Outcome:
        recorder = Recorder(self._device, entry.model, Mode.MEASURED)
        if entry.unsupported is not None:
            return without_values(recorder, entry.unsupported, failed=False, notes=entry.notes)
        if entry.failure is not None or not entry.visits_ms:
            reason = entry.failure or "no visit was made: the plan asks for none"
            return without_values(recorder, reason, failed=True, notes=entry.notes)
        recorder.conditions = {**machine_conditions(self._cpus(plan.threads)), **entry.conditions(plan)}
        _record(recorder, entry)
        return recorder.outcome(notes=entry.notes)


def _record(recorder: Recorder, entry: BatchEntry) -> None:
    latency = Metric.LATENCY_MS
    recorder.add(
        latency,
        min(entry.visits_ms),
        statistic=Statistic.MIN,
        samples=entry.visits_ms,
        conditions=entry.noise(),
    )
    recorder.add(latency, entry.init_ms, definition="init")
    recorder.add(latency, entry.first_inference_ms, definition="first_inference")
    recorder.add(Metric.PEAK_MEMORY_BYTES, entry.heap_bytes, statistic=Statistic.PEAK)
    recorder.add(Metric.STORAGE_BYTES, len(entry.model.data))
    if Metric.ENERGY_MJ in recorder.device.metrics:
        _record_energy(recorder, entry)
    for time in entry.operators:
        recorder.add(
            latency,
            time.microseconds * 1e-3,
            statistic=Statistic.MEAN,
            operator=OperatorRef(0, time.index),
            conditions={"delegated": time.delegated},
        )


def _record_energy(recorder: Recorder, entry: BatchEntry) -> None:
    if entry.visits_mj:
        recorder.add(Metric.ENERGY_MJ, min(entry.visits_mj), statistic=Statistic.MIN, samples=entry.visits_mj)
    else:
        recorder.unavailable(Metric.ENERGY_MJ, "the energy counter went backwards during every visit")


def _batches(models: Sequence[Model]) -> Iterator[list[Model]]:
    """Cut `models` into batches that are visited in turn, bounded in number and bytes."""
    batch: list[Model] = []
    size = 0
    for model in models:
        if batch and (len(batch) >= _BATCH_MODELS or size + len(model.data) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(model)
        size += len(model.data)
    if batch:
        yield batch
