"""Training on several processes or machines: what differs from one process, and nothing where there is one.

`torchrun --nproc-per-node 2 -m api.cli.main train ...` starts the processes; each takes its share of every
batch, and gradients are averaged by DistributedDataParallel. Process 0 writes the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def team(place: torch.device) -> Iterator[None]:
    """Join the processes that `torchrun` started, if it did, and leave them at the end."""
    joining = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized()
    if joining:
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield
    finally:
        if joining:
            distributed.destroy_process_group()


def processes() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def process() -> int:
    """Return which of them this is."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def parallel(network: Module, place: torch.device) -> Module | DistributedDataParallel:
    """Return the network, its gradients averaged over all processes where there are several."""
    if processes() == 1:
        return network
    return DistributedDataParallel(network, device_ids=[place] if place.type == "cuda" else None)


def own_part(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return this process's part of a batch; none where there is not one graph for each process."""
    if len(indices) < processes():
        return indices[:0]
    return indices[process() :: processes()]


def agreed(value: float) -> float:
    """Return process 0's value, so that clocks that differ do not part the processes."""
    if processes() == 1:
        return value
    place = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    shared = torch.tensor([value], dtype=torch.float64, device=place)
    distributed.broadcast(shared, 0)
    return float(shared)


def wait_for_all() -> None:
    """Return when every process has come here."""
    if processes() > 1:
        distributed.barrier()
