"""One thread a device: takes batches of networks, measures them, and reports every outcome."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from api.workflows.building import SampledModel
from dataset.records import Network
from perfsage.measurement import Measurement
from profilers.profiler import Plan, Profiler
from profilers.registry import shares_pool

MAX_WAITING_RESULTS = 512
MAX_WAITING_BATCHES = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """One network was measured on one device; its file is not kept."""

    device: str
    network: Network
    measurements: tuple[Measurement, ...]
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A network that `pairs` devices need not measure: it is a duplicate, or could not be built."""

    pairs: int
    duplicate: bool = False
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A lane (or the producer of networks) has ended; `error` says why, if not because it was done."""

    who: str
    error: Exception | None = None


Results = queue.Queue[Measured | Skipped | Ended]


class Lane(threading.Thread):
    """Measures on one device; a failure of the device ends the lane, and the other lanes go on."""

    def __init__(
        self, device: str, profiler: Profiler, plan: Plan, results: Results, *, batch_networks: int
    ) -> None:
        super().__init__(name=f"lane-{device}", daemon=True)
        self.device = device
        self._profiler = profiler
        self._plan = plan
        self._results = results
        self._batch_networks = batch_networks
        self._batch: list[SampledModel] = []
        self._inbox: queue.Queue[Sequence[SampledModel] | None] = queue.Queue(maxsize=MAX_WAITING_BATCHES)

    def add(self, network: SampledModel) -> None:
        """Hand over a network; waits while the lane is busy, drops it if the lane has ended."""
        self._batch.append(network)
        if len(self._batch) >= self._batch_networks:
            self._flush()

    def finish(self) -> None:
        """Say that there are no more networks."""
        self._flush()
        self._put(None)

    def let_go(self) -> None:
        """End what runs on an attached phone, and put it back; other devices end with this process."""
        if self.device.startswith("adb:"):
            self._profiler.close()

    def run(self) -> None:
        """Measure batches until the last."""
        try:
            while (batch := self._inbox.get()) is not None:
                outcomes = self._profiler.profile([network.model for network in batch], self._plan)
                for network, outcome in zip(batch, outcomes, strict=True):
                    self._results.put(
                        Measured(self.device, network.record, outcome.measurements, outcome.failure)
                    )
        except Exception as error:
            self._results.put(Ended(self.device, error))
        else:
            self._results.put(Ended(self.device))

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            if not shares_pool(self.device):
                random.shuffle(batch)  # what warms up a device must not go with the space or the type
            self._put(batch)

    def _put(self, batch: Sequence[SampledModel] | None) -> None:
        while self.is_alive():
            try:
                return self._inbox.put(batch, timeout=0.5)
            except queue.Full:
                continue
