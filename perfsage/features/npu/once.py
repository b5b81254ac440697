"""What a graph stores once, however many of its operators need it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import Flags, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def first_of_graph(subgraph: Subgraph, rows: NDArray[np.int64], keys: Float64 | None = None) -> Flags:
    """Return which of `rows` int64[k] are the first of their graph with such `keys` [k, columns], bool[k]."""
    if len(rows) == 1:
        return np.ones(1, dtype=np.bool_)
    columns = [subgraph.begins(rows), *(() if keys is None else keys.T)]
    order = np.lexsort(columns)
    # What is alike is in a row now, the first one first.
    new = np.zeros(len(rows), dtype=np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    first = np.zeros(len(rows), dtype=np.bool_)
    first[order[new]] = True
    return first


def store_shared_once(made: Float64, subgraph: Subgraph, operands: Operands, scales: Float64) -> None:
    """Weights that several operators read are coded once, unless other blocks or slices need another code.

    What is coded in another way takes other bytes, so that these tell codes apart. With another bias, an
    operator has `scales` [n, d] of its own.
    """
    shared = (operands.readers[operands.weight] > 1) & operands.has_weight
    rows = np.flatnonzero(shared & (made > 0).any(axis=1))
    if len(rows) < 2:
        return
    inputs = subgraph.columns.operator_inputs
    weight, bias = operands.weight[rows], inputs.values[inputs.offsets[rows + 1] - 1]
    for place in range(made.shape[1]):
        keys = np.stack([weight, made[rows, place], bias], axis=1)
        codes, biases = (first_of_graph(subgraph, rows, each) for each in (keys[:, :2], keys))
        made[rows, place] *= codes
        made[rows, place] += np.where(biases & ~codes, scales[rows, place], 0.0)
