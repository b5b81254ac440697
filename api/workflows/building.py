"""Networks of search spaces built in worker processes and read."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from dataset.builder import Dtype
from dataset.records import Network
from dataset.spaces import BuiltNetwork, get_space
from perfsage.graph import read_graph
from perfsage.graph.costs import graph_macs
from profilers.profiler import Model
from profilers.workers import Job, Reply, WorkerPool

BUILD_TIMEOUT_S = 60.0

Key = tuple[str, int, str]
"""(space, seed, dtype): what identifies a network that can be built again."""


@dataclass(frozen=True, slots=True)
class SampledModel:
    """A network that was built from a space, ready to be measured, and what the database keeps of it."""

    key: Key
    model: Model
    record: Network


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """A network that could not be built, and why."""

    key: Key
    reason: str


def build_job(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Build one network inside a worker: the task that `build_networks` submits."""
    network = get_space(arguments["space"]).build(arguments["seed"], arguments["dtype"])
    encoded = base64.b64encode(network.data).decode("ascii")
    return {"data": encoded, "family": network.family}


def build_networks(pool: WorkerPool, keys: Iterable[Key]) -> Iterator[SampledModel | NotBuilt]:
    """Yield the networks in the order of `keys`, built ahead in the pool's workers."""
    for key, reply in pool.map(_job, keys):
        yield _sampled(key, reply)


def build_network(key: Key) -> SampledModel:
    """Build one network in this process."""
    space, seed, dtype = key
    return sampled(key, get_space(space).build(seed, cast(Dtype, dtype)))


def sampled(key: Key, network: BuiltNetwork) -> SampledModel:
    """Read a network that has been built; its record names the seed, not the architecture that follows.

    Architectures would be a sixth of what a network takes in the database.
    """
    model = Model(data=network.data, graph=read_graph(network.data))
    macs, unknown = graph_macs(model.graph)
    space, seed, dtype = key
    record = Network.from_space(space, seed, dtype, network, model.graph, None if unknown else macs)
    return SampledModel(key, model, replace(record, architecture=""))


def _job(key: Key) -> Job:
    space, seed, dtype = key
    return Job(
        tool="the builder",
        task="api.workflows.building:build_job",
        arguments={"space": space, "seed": seed, "dtype": dtype},
        timeout_s=BUILD_TIMEOUT_S,
    )


def _sampled(key: Key, reply: Reply) -> SampledModel | NotBuilt:
    if reply.value is None:
        return NotBuilt(key, str(reply.failure or reply.unsupported))
    data = base64.b64decode(reply.value["data"])
    return sampled(key, BuiltNetwork(data, {}, reply.value["family"]))
