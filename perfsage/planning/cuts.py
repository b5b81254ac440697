"""Every place where a network can be cut: between two operators in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfsage.errors import InvalidInputError
from perfsage.graph import Graph
from perfsage.graph.lifetimes import usage


@dataclass(frozen=True, slots=True)
class Cut:
    """A cut after the first `after` operators; 0 is before all, the number of operators after all.

    `tensors` are the activations that the second part needs (the network's inputs for the first cut, its
    outputs for the last); `tensor_bytes` is their size as the file has them, `elements` their number.
    """

    after: int
    tensors: tuple[int, ...]
    tensor_bytes: int
    elements: int


def find_cuts(graph: Graph) -> tuple[Cut, ...]:
    """Return all cuts in order, operators + 1 of them.

    InvalidInputError for graphs with control flow, and for tensors that cross a cut without a known size.
    """
    if len(graph.subgraphs) != 1:
        raise InvalidInputError(
            f"the model has {len(graph.subgraphs)} subgraphs",
            hint="Only models without control flow can be cut between operators.",
        )
    subgraph = graph.subgraphs[0]
    columns = subgraph.columns
    first, last = usage(subgraph)
    moving = ~columns.tensor_is_constant
    # An output that is ready early crosses every cut after it: `usage` lets it live to the end.
    return tuple(
        _cut(graph, after, np.flatnonzero(moving & (first < after) & (last >= after) & (first >= -1)))
        if after < len(columns.operator_type)
        else _cut(graph, after, np.array(sorted(set(subgraph.outputs)), np.int64))
        for after in range(len(columns.operator_type) + 1)
    )


def _cut(graph: Graph, after: int, crossing: np.ndarray) -> Cut:
    columns = graph.subgraphs[0].columns
    sizes = columns.tensor_bytes[crossing]
    if (sizes < 0).any():
        number = int(crossing[int(np.argmin(sizes))])
        raise InvalidInputError(
            f"tensor {number}, which crosses the cut after operator {after}, has no fixed size",
            hint="Give the model fixed shapes.",
        )
    elements = int(columns.tensor_elements[crossing].sum())
    return Cut(after, tuple(crossing.tolist()), int(sizes.sum()), elements)
