"""How an NPU finds each operator's data in memory: in bricks of 16 channels, row by row, or outside.

What enters or leaves the graph, or is renamed by a reshape, stays as the file has it, channels last; short
runs of it waste most of each burst. Everything else lies in bricks. Vela 5 decides so; a comparison with its
own tables (80 networks) found these rules right for nine of ten tensors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

BRICKS, LINEAR, EDGE = range(3)
"""EDGE is linear, too, and lies where the application has it: in DRAM, for the larger accelerators."""
BRICK = 16
TABLES = (
    *("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "PRELU", "ELU", "GELU"),
    *("EXP", "LOG", "RSQRT", "SQRT"),
)
"""Functions of one value, which a look-up table holds."""
_RENAMING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SPLIT", "SPLIT_V", "SOFTMAX", "PACK", "UNPACK")


def tensor_formats(subgraph: Subgraph, operands: Operands) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the format of each operator's data and of its result, int64[n]."""
    renaming = operands.is_type(*_RENAMING) | _uneven(subgraph, operands)
    formats = np.full(operands.absent + 1, BRICKS, dtype=np.int64)
    for table in (subgraph.columns.operator_inputs, subgraph.columns.operator_outputs):
        formats[table.values[renaming[table.row_indices]]] = LINEAR
    formats[[*subgraph.inputs, *subgraph.outputs]] = EDGE
    formats[-1] = BRICKS
    return formats[operands.data], formats[operands.result]


def fused(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    """Return which operators are done while their producer writes: functions that alone read it."""
    table = subgraph.columns.operator_inputs
    readers = np.bincount(table.values[table.values >= 0], minlength=operands.absent + 1)
    readers[[*subgraph.outputs]] += 1
    made = np.zeros(operands.absent + 1, dtype=np.bool_)
    results = subgraph.columns.operator_outputs
    made[results.values] = ~(operands.is_type(*_RENAMING, *TABLES, "CONCATENATION"))[results.row_indices]
    alone = (readers[operands.data] == 1) & made[operands.data]
    return np.asarray(operands.is_type(*TABLES, "RELU", "RELU6") & alone)


def _uneven(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    """Return which concatenations have a part that does not end with a brick."""
    joined = operands.is_type("CONCATENATION")
    if not joined.any():
        return joined
    table = subgraph.columns.operator_inputs
    parts = operands.dimensions[table.values, 3] % BRICK > 0
    return np.asarray(joined & (np.bincount(table.row_indices, parts, len(joined)) > 0))
