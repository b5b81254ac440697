"""Where results of a collection go: duplicates are told, and everything is committed in small batches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from api.workflows.building import Key
from api.workflows.collect import OnProgress, Progress
from api.workflows.lanes import Measured, Skipped
from dataset.records import Network
from perfsage.device import Device

if TYPE_CHECKING:
    from dataset.store import Store

COMMIT_SECONDS = 1.0
COMMIT_OUTCOMES = 64


class Sink:
    """Stores results at least once a second, so that a kill loses no more than that, and counts them."""

    def __init__(self, store: Store, progress: Progress, on_progress: OnProgress) -> None:
        self.progress = progress
        self._store = store
        self._on_progress = on_progress
        self._owners = _owners(store)
        self._waiting: list[Measured] = []
        self._deadline = time.monotonic() + COMMIT_SECONDS

    @property
    def due_s(self) -> float:
        """Seconds until `tick` has something to do."""
        return max(0.0, self._deadline - time.monotonic())

    def add_device(self, device: Device) -> None:
        """Store a device before its measurements."""
        self._store.add_device(device)

    def is_duplicate(self, network: Network) -> bool:
        """Say whether another network with the same structure is in the database or came before."""
        assert network.space is not None and network.seed is not None
        key = (network.space, network.seed, network.dtype)
        return self._owners.setdefault(bytes.fromhex(network.graph_id), key) != key

    def skip(self, skipped: Skipped) -> None:
        """Count what is not measured."""
        self.progress.skipped += skipped.pairs
        self.progress.duplicate_networks += skipped.duplicate
        if skipped.failure is not None:
            self.progress.failures[skipped.failure] += 1

    def add(self, result: Measured) -> None:
        """Take a result; it is stored with the next commit."""
        self._waiting.append(result)
        if len(self._waiting) >= COMMIT_OUTCOMES:
            self.commit()

    def tick(self) -> None:
        """Commit if the last commit was long ago."""
        if not self.due_s:
            self.commit()

    def commit(self) -> None:
        """Store what waits, all or nothing, and report progress."""
        self._deadline = time.monotonic() + COMMIT_SECONDS
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        measurements = [measurement for result in waiting for measurement in result.measurements]
        self._store.add_outcomes([result.network for result in waiting], measurements)
        for result in waiting:
            self.progress.measured += 1
            self.progress.measured_by_device[result.device] += 1
            if result.failure:
                self.progress.failures[f"{result.device}: {result.failure}"] += 1
        self._on_progress(self.progress)


def _owners(store: Store) -> dict[bytes, Key]:
    """Return which sampled network stands for each structure in the database."""
    return {graph_id: (space, seed, dtype) for graph_id, space, seed, dtype in store.structures()}
