"""What lies in DRAM because the other operand of arithmetic does (Vela 5's `ElementwiseSanitizer`).

Whatever an operator reads together with arithmetic, and only arithmetic reads, goes where the rest is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import ARITHMETIC
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
Int64 = NDArray[np.int64]


def with_mates(
    subgraph: Subgraph, operands: Operands, refused: Flags, same: Int64, owner: Int64, far: Flags
) -> Flags:
    """Return what lies in DRAM and did not before, bool[tensors + 1] at tensors of `same`.

    `same` int64[tensors + 1] names tensors that are one, `owner` int64[n] the row that does each operator,
    `far` bool[tensors + 1] says of each `same` whether it lies in DRAM, and the CPU does `refused` bool[n].
    """
    made = np.zeros(len(far), dtype=np.bool_)
    rows = np.flatnonzero(operands.is_type(*ARITHMETIC) & (operands.second < operands.absent) & ~refused)
    rows = np.union1d(rows, owner[rows])
    group = np.concatenate([owner[rows], owner[rows]])
    read = np.concatenate([operands.data[rows], operands.second[rows]])
    arithmetic = operands.is_type(*ARITHMETIC)[rows]
    inside = same[read] == same[np.concatenate([operands.result[rows]] * 2)]
    there = (read < operands.absent) & ~operands.constant[read] & ~inside
    there[len(rows) :] &= arithmetic
    group, read = group[there], same[read[there]]
    outside, inner = np.zeros((2, len(refused)), dtype=np.bool_)
    outside[group[far[read]]] = True
    inner[group[~far[read]]] = True
    if not (outside & inner).any():
        return made
    movable = ~_read_by_others(subgraph, operands, same)
    order = np.argsort(group, kind="stable")
    for each in np.split(read[order], np.flatnonzero(np.diff(group[order])) + 1):
        if (far[each] | made[each]).any():
            made[each] |= ~far[each] & movable[each]
    return made


def _read_by_others(subgraph: Subgraph, operands: Operands, same: Int64) -> Flags:
    """Return which tensors not only arithmetic reads, bool[tensors + 1] at tensors of `same`."""
    table = subgraph.columns.operator_inputs
    rows, values = table.row_indices, table.values
    # What only names it anew, or is done on the way out, does not read it.
    reads = (same[values] != same[operands.result[rows]]) & (values >= 0)
    others = reads & ~operands.is_type(*ARITHMETIC)[rows]
    made = np.zeros(len(same), dtype=np.bool_)
    made[same[values[others]]] = True
    return made
