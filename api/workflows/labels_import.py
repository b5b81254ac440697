"""Import shipped labels: build their networks in worker processes, and store both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.workflows.building import BUILD_TIMEOUT_S, build_network
from dataset.records import Network
from perfsage.errors import DatasetError
from profilers.workers import Job, WorkerPool

if TYPE_CHECKING:
    from dataset.store import Store

SEEDS_PER_JOB = 20


def import_shipped_labels(
    store: Store,
    folder: str | Path,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Add shipped labels to the store; see `dataset.labels_importing.import_labels`."""
    from dataset.labels_importing import import_labels

    size = workers or len(os.sched_getaffinity(0))
    with WorkerPool(size, name="import") as pool:

        def build(space: str, dtype: str, seeds: Iterable[int]) -> Iterator[Network]:
            return identify_networks(pool, space, dtype, seeds)

        return import_labels(store, folder, build, on_progress=on_progress)


def identify_networks(pool: WorkerPool, space: str, dtype: str, seeds: Iterable[int]) -> Iterator[Network]:
    """Yield the records of the networks in the order of `seeds`, built and read in the pool's workers."""

    def job(part: list[int]) -> Job:
        return Job(
            tool="the builder",
            task="api.workflows.labels_import:identify_job",
            arguments={"space": space, "seeds": part, "dtype": dtype},
            timeout_s=BUILD_TIMEOUT_S * len(part),
        )

    numbers = list(seeds)
    parts = (numbers[start : start + SEEDS_PER_JOB] for start in range(0, len(numbers), SEEDS_PER_JOB))
    for part, reply in pool.map(job, parts):
        if reply.value is None:
            reason = reply.failure or reply.unsupported
            where = f"{space} seeds {part[0]} to {part[-1]} {dtype}"
            raise DatasetError(f"a network could not be built: {reason}", where=where)
        for values in reply.value["networks"]:
            yield Network(**values)


def identify_job(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Build networks and return their records: the task that runs inside a worker."""
    keys = [(arguments["space"], seed, arguments["dtype"]) for seed in arguments["seeds"]]
    return {"networks": [asdict(build_network(key).record) for key in keys]}
