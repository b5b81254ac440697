"""Constants that an NPU's compiler adds to a graph: tables of functions, and zeros as large as a tensor.

What Vela 5 stores beside coded weights, by its own list of read-only tensors for 124 networks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import TABLES
from perfsage.features.npu.once import first_of_graph
from perfsage.features.npu.work import INTEGER_BYTES, NOTHING, Float64, Work, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

TABLE_BYTES, SOFTMAX_BYTES = 256.0, 1136.0
"""A table of 8 bits; that of exponentials, and the small numbers of a softmax."""
ALIGNMENT = 16.0


def constant_bytes(subgraph: Subgraph, operands: Operands, work: Work, refused: NDArray[np.bool_]) -> Float64:
    """Return float64[n, 2]: bytes on U55 and U65, and on U85; 0 for what is `refused` bool[n, 2]."""
    softmax = operands.is_type("SOFTMAX")
    each = np.where(operands.is_type(*TABLES), TABLE_BYTES, np.where(softmax, SOFTMAX_BYTES, 0.0))
    summed = softmax | work.flat
    added = np.where(summed, INTEGER_BYTES * operands.elements[operands.data], work.beside)
    added = np.where(work.doubled, operands.elements[operands.result], added)
    zeros = _once(subgraph, np.where(refused[:, 0], 0.0, added))
    each = each + _once(subgraph, np.where(refused.all(axis=1), 0.0, _padding(operands, work)))
    return np.where(refused, 0.0, np.stack([each + zeros, each], axis=1))


def _padding(operands: Operands, work: Work) -> Float64:
    """Return the bytes of the largest border that is copied around an image, float64[n]."""
    padded = operands.is_type("PAD") & (work.kind != NOTHING)
    if not padded.any():
        return np.zeros(len(padded))
    out, into = operands.dimensions[operands.result], operands.dimensions[operands.data]
    most = np.max(np.ceil(np.maximum(out - into, 0.0) / 2.0) / out, axis=1)
    return np.where(padded, most * operands.elements[operands.result], 0.0)


def _once(subgraph: Subgraph, added: Float64) -> Float64:
    """Return `added` bytes of what is alike everywhere, once for each size in a graph."""
    made = np.zeros(len(added))
    rows = np.flatnonzero(added)
    if len(rows):
        size = round_up(added[rows], ALIGNMENT)
        made[rows] = size * first_of_graph(subgraph, rows, size[:, None])
    return made
