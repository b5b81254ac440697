"""Arithmetic and functions of few channels, which an NPU works on in another shape with more of them.

The rules are those of Vela 5 (`ConvertOperation` and `ReshapeToIncreaseDepth`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.deep_shapes import MOST_ELEMENTS
from perfsage.features.npu.formats import ARITHMETIC, FUNCTIONS, JOINTS, PARTS
from perfsage.features.operands import Operands, remembered
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
Int64 = NDArray[np.int64]

FEW_CHANNELS, FEW_ELEMENTS = 8, 16
"""What has fewer channels and more elements gets another shape."""
_SHAPED = tuple(
    name for name in (*ARITHMETIC, *FUNCTIONS, "QUANTIZE") if name not in ("SQUARED_DIFFERENCE", "PRELU")
)


@remembered
def deepened(subgraph: Subgraph, operands: Operands, owner: Int64) -> Flags:
    """Return which operators get another shape, bool[n]; `owner` int64[n] is the row that does each."""
    dimensions, elements, result = operands.dimensions, operands.elements, operands.result
    few = shallow(operands) & (owner == np.arange(len(owner)))
    if few.any():
        few &= operands.is_type(*_SHAPED)
        for source in (operands.data, operands.second):
            alike = (dimensions[source] == dimensions[result]).all(axis=1)
            few &= alike | (elements[source] == 1) | (source == operands.absent)
        read, written = parts(subgraph, operands)
        few &= ~(read[operands.data] | read[operands.second] | written[operands.result])
    return np.asarray(few)


def shallow(operands: Operands) -> Flags:
    """Return which operators give so few channels of so many elements that their shape would be changed."""
    depth, elements = operands.dimensions[operands.result, 3], operands.elements[operands.result]
    return np.asarray((depth < FEW_CHANNELS) & (elements > FEW_ELEMENTS) & (elements < MOST_ELEMENTS))


def copied_whole(operands: Operands) -> Int64:
    """Return the rows of pads that pad nothing, as stale signatures have it, and copy few channels.

    They do so in another shape, into rows.
    """
    rows = np.flatnonzero(operands.is_type("PAD"))
    if len(rows):
        before, after = (operands.dimensions[each[rows]] for each in (operands.data, operands.result))
        rows = rows[(before == after).all(axis=1) & shallow(operands)[rows]]
    return rows


def parts(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    """Return which tensors are parts of what lies in memory, bool[2, tensors + 1]: as read, and as written.

    What reads or writes these keeps its shape.
    """
    columns = subgraph.columns
    part = np.zeros((2, operands.absent + 1), dtype=np.bool_)
    read, written = columns.operator_outputs, columns.operator_inputs
    for place, table, names in ((0, read, PARTS), (1, written, (*JOINTS, "PAD"))):
        there = operands.is_type(*names)[table.row_indices] & (table.values >= 0)
        part[place, table.values[there]] = True
    return part
