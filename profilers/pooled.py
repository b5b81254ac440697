"""A profiler whose tool needs one job a model in a worker pool: Vela, TFLM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.measurement import Mode
from profilers.outcomes import Recorder, without_values
from profilers.profiler import Model, Outcome, Plan
from profilers.workers import Job, Reply, WorkerPool


class PooledProfiler(ABC):
    """Runs its tool on `workers` processes of its own, or on those of a pool that others use too."""

    tool: str
    task: str
    mode: Mode

    def __init__(self, device: Device, *, pool: WorkerPool | None = None, workers: int = 1) -> None:
        self._device = device
        self._owns_pool = pool is None
        self._pool = pool if pool is not None else WorkerPool(workers, name=device.name)

    def describe(self) -> Device:
        """Return the device; no worker is started."""
        return self._device

    def profile(self, models: Sequence[Model], plan: Plan) -> Iterator[Outcome]:
        """Yield one outcome a model, in order."""
        for model, reply in self._pool.map(lambda model: self._job(model, plan), models):
            yield self._outcome(model, reply, plan)

    def close(self) -> None:
        """End the workers, if they are this profiler's own."""
        if self._owns_pool:
            self._pool.close()

    @abstractmethod
    def arguments(self, model: Model, plan: Plan) -> dict[str, Any]:
        """Return the task's arguments for this model."""

    @abstractmethod
    def record(self, recorder: Recorder, answer: dict[str, Any], plan: Plan) -> Outcome:
        """Return the outcome of a task that answered."""

    def _record(self, recorder: Recorder, answer: dict[str, Any], plan: Plan) -> Outcome:
        """Record an answer, or that it makes no sense: a hostile model may have taken over the worker."""
        try:
            return self.record(recorder, answer, plan)
        except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError, InvalidInputError) as error:
            reason = f"{self.tool} answered nonsense: {type(error).__name__}: {error}"
            return without_values(recorder, reason, failed=True)

    def explain(self, recorder: Recorder, reason: str) -> str:
        """Return the reason why the tool does not take the model, completed from the graph where possible."""
        return reason

    def _job(self, model: Model, plan: Plan) -> Job:
        return Job(
            tool=self.tool,
            task=self.task,
            data=model.data,
            arguments=self.arguments(model, plan),
            timeout_s=plan.timeout_s,
            memory_limit_bytes=plan.memory_limit_bytes,
        )

    def _outcome(self, model: Model, reply: Reply, plan: Plan) -> Outcome:
        recorder = Recorder(self._device, model, self.mode)
        if reply.value is not None:
            return self._record(recorder, reply.value, plan)
        if reply.unsupported is not None:
            return without_values(recorder, self.explain(recorder, reply.unsupported), failed=False)
        return without_values(recorder, str(reply.failure), failed=True)
