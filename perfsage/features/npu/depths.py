"""Arithmetic and functions of few channels, which an NPU works on in another shape with more of them.

Memory stays as it is, so that what is as deep for its maker as for its readers alone can lie in bricks. The
rules are those of Vela 5 (`ConvertOperation` and `ReshapeToIncreaseDepth`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.deep_shapes import MOST_ELEMENTS
from perfsage.features.npu.formats import ARITHMETIC, BRICKS, FUNCTIONS, JOINTS, LINEAR, PARTS
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
    few = (dimensions[result, 3] < FEW_CHANNELS) & (elements[result] > FEW_ELEMENTS)
    few &= (elements[result] < MOST_ELEMENTS) & (owner == np.arange(len(owner)))
    if few.any():
        few &= operands.is_type(*_SHAPED)
        for source in (operands.data, operands.second):
            alike = (dimensions[source] == dimensions[result]).all(axis=1)
            few &= alike | (elements[source] == 1) | (source == operands.absent)
        few &= ~_sliced(subgraph, operands)
    return np.asarray(few)


def _sliced(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which operators read a part of what lies in memory, or write one: these keep their shape."""
    columns = subgraph.columns
    part = np.zeros((2, operands.absent + 1), dtype=np.bool_)
    read, written = columns.operator_outputs, columns.operator_inputs
    for place, table, names in ((0, read, PARTS), (1, written, (*JOINTS, "PAD"))):
        there = operands.is_type(*names)[table.row_indices] & (table.values >= 0)
        part[place, table.values[there]] = True
    return np.asarray(part[0, operands.data] | part[0, operands.second] | part[1, operands.result])


def deep_formats(
    subgraph: Subgraph, operands: Operands, formats: Int64, owner: Int64, *, u85: bool = False
) -> Int64:
    """Return the formats again, rows instead of bricks for what its maker and its readers see differently.

    U85 writes a transposed convolution by every other column, which bricks do not allow.
    """
    if u85:
        apart = operands.is_type("TRANSPOSE_CONV") & (subgraph.columns.attribute("stride_w") > 1)
        if apart.any():
            made = operands.result[apart[owner]]
            formats = formats.copy()
            formats[made] = np.where(formats[made] == BRICKS, LINEAR, formats[made])
    deep = deepened(subgraph, operands, owner)[owner]
    if not deep.any():
        return formats
    columns = subgraph.columns
    seen = np.zeros((2, len(formats)), dtype=np.bool_)
    # What is done on the way out is neither written nor read.
    own = owner == np.arange(len(owner))
    for table in (columns.operator_inputs, columns.operator_outputs):
        rows = table.row_indices
        there = (table.values >= 0) & (own[rows] | (table is columns.operator_outputs))
        seen[deep[rows[there]].astype(np.int64), table.values[there]] = True
    return np.where(seen.all(axis=0) & (formats == BRICKS), LINEAR, formats)
