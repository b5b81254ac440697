"""What U85's estimate counts of tensors that are larger or smaller than what an operator computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import ARITHMETIC, BRICK, BRICKS, JOINTS
from perfsage.features.npu.work import Flags, Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def wholes(subgraph: Subgraph, operands: Operands, refused: Flags) -> NDArray[np.int64]:
    """Return the concatenation that each tensor becomes a part of, else itself, int64[tensors + 1]."""
    table = subgraph.columns.operator_inputs
    joined = (operands.is_type(*JOINTS) & ~refused)[table.row_indices] & (table.values >= 0)
    joined &= operands.readers[table.values] == 1
    whole = np.arange(operands.absent + 1)
    whole[table.values[joined]] = operands.result[table.row_indices[joined]]
    return whole


def written_share(
    subgraph: Subgraph,
    operands: Operands,
    refused: Flags,
    result: NDArray[np.int64],
    formats: NDArray[np.int64],
) -> Float64:
    """Return how many times as much as is computed is written, where a function ends it, float64[n].

    A function that is done on the way out counts all of the concatenation that it writes a part of. `result`
    int64[n] is what is written and `formats` int64[n] its format.
    """
    sizes = []
    for tensor in (wholes(subgraph, operands, refused)[result], result):
        depth = np.maximum(operands.dimensions[tensor, 3], 1.0)
        stored = np.where(formats == BRICKS, round_up(depth, BRICK), depth)
        sizes.append(operands.elements[tensor] / depth * stored)
    return np.asarray(sizes[0] / np.maximum(sizes[1], 1.0))


def second_share(operands: Operands) -> Float64:
    """Return how much of its result's size the second operand of arithmetic has: broadcasts read it once."""
    both = operands.is_type(*ARITHMETIC) & (operands.second != operands.absent)
    share = operands.elements[operands.second] / np.maximum(operands.elements[operands.result], 1.0)
    return np.where(both, np.minimum(share, 1.0), 1.0)
