"""Mean aggregation over producers and consumers, by DGL's kernels where they run."""

from __future__ import annotations

import os

import torch

from perfsage.errors import MissingExtraError
from perfsage.models.gnn import GraphTensors, Neighbours, index_neighbours


def neighbours_of(inputs: GraphTensors) -> Neighbours:
    """Return the aggregation of a batch: DGL's on the CPU, by index addition on a GPU.

    DGL's wheels on PyPI have no CUDA kernels; the two are equal (tests/predictor/test_network.py).
    """
    if inputs.node.is_cuda:
        return index_neighbours(inputs.source, inputs.target, inputs.node.shape[0])
    return dgl_neighbours(inputs)


def dgl_neighbours(inputs: GraphTensors) -> Neighbours:
    """Return the aggregation of a batch; MissingExtraError where DGL is not installed."""
    os.environ.setdefault("DGLBACKEND", "pytorch")  # without it DGL writes a file into the home directory
    try:
        import dgl
        import dgl.function as fn
    except ImportError as error:
        raise MissingExtraError("dgl", "train") from error
    rows = len(inputs.type_index)
    forward = dgl.graph((inputs.source, inputs.target), num_nodes=rows)
    backward = dgl.graph((inputs.target, inputs.source), num_nodes=rows)

    def mean(graph: dgl.DGLGraph, hidden: torch.Tensor) -> torch.Tensor:
        with graph.local_scope():
            graph.srcdata["h"] = hidden
            graph.update_all(fn.copy_u("h", "m"), fn.mean("m", "mean"))
            result: torch.Tensor = graph.dstdata["mean"]
            return result

    def aggregate(hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return mean(forward, hidden), mean(backward, hidden)

    return aggregate
