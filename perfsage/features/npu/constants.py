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
from perfsage.features.statistics import weight_columns
from perfsage.graph import Subgraph
from perfsage.graph.schema import type_bits

TABLE_BYTES, SOFTMAX_BYTES = 256.0, 1136.0
"""A table of 8 bits; that of exponentials, and the small numbers of a softmax."""
ALIGNMENT = 16.0
_READ_AS_DATA = """
    ADD SUB MUL DIV MINIMUM MAXIMUM SQUARED_DIFFERENCE PRELU CONCATENATION PACK GATHER SELECT SELECT_V2
    GREATER GREATER_EQUAL LESS LESS_EQUAL EQUAL NOT_EQUAL LOGICAL_AND LOGICAL_OR
"""
READ_AS_DATA = tuple(_READ_AS_DATA.split())
"""What reads constants as they are, rather than coded ones or parameters."""


def constant_bytes(subgraph: Subgraph, operands: Operands, work: Work, refused: NDArray[np.bool_]) -> Float64:
    """Return float64[n, 2]: bytes on U55 and U65, and on U85; 0 for what is `refused` bool[n, 2]."""
    softmax = operands.is_type("SOFTMAX")
    each = np.where(operands.is_type(*TABLES), TABLE_BYTES, np.where(softmax, SOFTMAX_BYTES, 0.0))
    summed = softmax | work.flat
    added = np.where(summed, INTEGER_BYTES * operands.elements[operands.data], work.beside)
    added = np.where(work.doubled, operands.elements[operands.result], added)
    zeros = _once(subgraph, np.where(refused[:, 0], 0.0, added))
    each = each + _once(subgraph, np.where(refused.all(axis=1), 0.0, _padding(operands, work)))
    made = np.where(refused, 0.0, np.stack([each + zeros, each], axis=1))
    _add_operands(made, subgraph, operands, refused)
    return made


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


def _add_operands(made: Float64, subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]) -> None:
    """Add constants that are read as data to `made` [n, 2]; equal ones of a graph are stored once.

    Bytes are taken to be equal where there are as many with the same statistics; of wider elements these
    say too little.
    """
    rows = np.flatnonzero(operands.is_type(*READ_AS_DATA) & (operands.constants > 0))
    if not len(rows):
        return
    of, tensors = _constant_inputs(subgraph, operands, rows)
    bits = type_bits()[operands.tensor_type[tensors]]
    size = round_up(operands.elements[tensors] * bits / 8.0, ALIGNMENT)
    alone = np.where(bits > 8, tensors, -1)
    keys = np.concatenate([np.stack([size, alone], axis=1), weight_columns(subgraph, tensors, True)], axis=1)
    for place in range(made.shape[1]):
        taken = np.flatnonzero(~refused[of, place])
        if len(taken):
            first = first_of_graph(subgraph, of[taken], keys[taken])
            made[:, place] += np.bincount(of[taken], size[taken] * first, len(made))


def _constant_inputs(
    subgraph: Subgraph, operands: Operands, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the operators, out of `rows`, that read constants, and these tensors, int64[k] each."""
    inputs = subgraph.columns.operator_inputs
    counts = operands.inputs[rows]
    of = np.repeat(rows, counts)
    begins = np.repeat(inputs.offsets[rows] - np.cumsum(counts) + counts, counts)
    tensors = inputs.values[begins + np.arange(len(of))].astype(np.int64)
    constant = (tensors >= 0) & operands.constant[tensors]
    return of[constant], tensors[constant]
