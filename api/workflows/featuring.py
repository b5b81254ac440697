"""Features of a database's networks: extracted in worker processes, and kept for the next training.

The cache is keyed by the model id and by the source code that features come from, so it never gives
features of another version. It lies in `$XDG_CACHE_HOME/perfsage` and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perfsage.features
import perfsage.graph
from dataset.spaces import get_space
from dataset.store import Store
from perfsage.errors import DatasetError, InvalidInputError
from perfsage.features import GraphFeatures, extract_features, load_features, save_features
from perfsage.graph import read_graph
from profilers.workers import Job, WorkerPool

EXTRACT_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network of a database: its number there, and how to build it again where it has a seed."""

    number: int
    model_id: str
    space: str | None
    seed: int | None
    dtype: str


def features_of(
    store: Store,
    networks: Sequence[StoredNetwork],
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] = lambda count: None,
) -> list[GraphFeatures]:
    """Return the features of `networks` in their order; DatasetError names a network that has none."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [network for network in networks if _cached(folder, network) is None]
    on_done(len(networks) - len(missing))
    with WorkerPool(workers or len(os.sched_getaffinity(0)), name="features") as pool:
        jobs = pool.map(lambda network: _job(store, folder, network), _shared_out(folder, missing))
        for count, (network, reply) in enumerate(jobs, start=len(networks) - len(missing) + 1):
            if reply.value is None:
                reason = reply.failure or reply.unsupported
                where = f"network {network.number}, model {network.model_id}"
                raise DatasetError(f"the features of a network could not be extracted: {reason}", where=where)
            on_done(count)
    on_done(len(networks))
    return list(_loaded(folder, networks))


def cache_folder() -> Path:
    """Return the folder of features that this version's code extracts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "perfsage" / "features" / _code_version()


def extract_job(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Extract the features of one network inside a worker: build it, or read `data`; write them to `path`."""
    if arguments["seed"] is not None:
        data = get_space(arguments["space"]).build(arguments["seed"], arguments["dtype"]).data
    graph = read_graph(data)
    if arguments["seed"] is not None and graph.model_id != arguments["model_id"]:
        raise ValueError("it is not built as it was when it was measured; measure it again in a new database")
    path = Path(arguments["path"])
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    save_features(extract_features(graph), partial)
    partial.replace(path)
    return {}


def _job(store: Store, folder: Path, network: StoredNetwork) -> Job:
    data = b"" if network.seed is not None else store.rebuild(network.number)
    arguments = {
        "space": network.space,
        "seed": network.seed,
        "dtype": network.dtype,
        "model_id": network.model_id,
        "path": str(_path(folder, network)),
    }
    return Job(
        tool="feature extraction",
        task="api.workflows.featuring:extract_job",
        data=data,
        arguments=arguments,
        timeout_s=EXTRACT_TIMEOUT_S,
    )


def _shared_out(folder: Path, missing: Sequence[StoredNetwork]) -> Iterator[StoredNetwork]:
    """Yield this process's share, then what the others that `torchrun` started here have not come to yet."""
    own, size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    for step in range(size):
        for network in missing[(own + step) % size :: size]:
            if _cached(folder, network) is None:
                yield network


def _path(folder: Path, network: StoredNetwork) -> Path:
    return folder / f"{network.model_id}.npz"


def _cached(folder: Path, network: StoredNetwork) -> Path | None:
    path = _path(folder, network)
    return path if path.exists() else None


def _loaded(folder: Path, networks: Sequence[StoredNetwork]) -> Iterator[GraphFeatures]:
    for network in networks:
        path = _path(folder, network)
        try:
            yield load_features(path)
        except InvalidInputError:
            path.unlink(missing_ok=True)
            raise


def _code_version() -> str:
    digest = hashlib.sha256()
    for package in (perfsage.features, perfsage.graph):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
