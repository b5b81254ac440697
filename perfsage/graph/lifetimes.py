"""When each tensor of a subgraph is alive, for the order of operators in the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfsage.graph.graph import Subgraph

Int64 = npt.NDArray[np.int64]

NEVER: Final = -2
"""First and last use of tensors that take no activation memory: constants and tensors nobody uses."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """First and last use of every tensor, as operator indices: int64[n_tensors] each.

    A tensor is alive from `first` to `last`, both included. -1 means before the first operator: that is
    where inputs of the subgraph begin (the row before its own first operator, where subgraphs were joined).
    Outputs live to the last operator, variables all the time, and NEVER stands for constants and unused
    tensors.
    """

    first: Int64
    last: Int64
    live_bytes: Int64
    """Bytes alive while each operator runs, variables excluded: int64[n_operators]; tensors whose size is
    not known count as nothing."""


def lifetimes(subgraph: Subgraph) -> Lifetimes:
    """Return when each tensor of `subgraph` is alive and how many bytes are alive at each operator."""
    columns = subgraph.columns
    first, last = usage(subgraph)
    first[columns.tensor_is_constant] = last[columns.tensor_is_constant] = NEVER
    alive = (first > NEVER) & ~columns.tensor_is_variable
    size = np.where(alive, np.maximum(columns.tensor_bytes, 0), 0)
    begin, end = subgraph.spans
    # Inputs that no operator uses end before the first one, and count nowhere.
    running = np.maximum(first, begin)
    live = live_bytes(running[alive], last[alive], size[alive], len(columns.operator_type))
    variable = columns.tensor_is_variable & ~columns.tensor_is_constant
    first[variable], last[variable] = begin[variable] - 1, end[variable] - 1
    return Lifetimes(first, last, live)


def usage(subgraph: Subgraph) -> tuple[Int64, Int64]:
    """Return the operator that first writes and the one that last uses each tensor, constants included.

    A tensor that operators read but nothing writes has no lifetime to begin with (NEVER), as in TFLM.
    """
    columns = subgraph.columns
    begin, end = subgraph.spans
    first = np.full(len(columns.tensor_type) + 1, NEVER, np.int64)
    last = first.copy()
    outputs, made_by = columns.operator_outputs.values, owners(columns.operator_outputs.offsets)
    entering, leaving = list(subgraph.inputs), list(subgraph.outputs)
    first[leaving] = begin[leaving] - 1
    first[entering] = begin[entering] - 1
    # Of repeated indices numpy keeps the last assignment, which is the latest operator.
    first[outputs] = made_by
    last[:] = first
    last[columns.operator_inputs.values] = owners(columns.operator_inputs.offsets)
    last[outputs] = np.maximum(last[outputs], made_by)
    last[leaving] = end[leaving] - 1
    return first[:-1], last[:-1]


def owners(offsets: npt.NDArray[np.integer]) -> Int64:
    """Return the row that each value of a ragged column belongs to."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def live_bytes(first: Int64, last: Int64, size: Int64, steps: int) -> Int64:
    """Return the bytes alive at each of `steps` steps for buffers alive from `first` to `last`."""
    change = np.zeros(steps + 1, np.int64)
    np.add.at(change, first, size)
    np.subtract.at(change, last + 1, size)
    return np.cumsum(change[:-1])
