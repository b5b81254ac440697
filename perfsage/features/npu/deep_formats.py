"""Formats of tensors that their maker and their readers see in different shapes.

Memory stays as it is, so that what is as deep for its maker as for its readers alone can lie in bricks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.depths import copied_whole, deepened, shallow
from perfsage.features.npu.formats import BRICKS, LINEAR
from perfsage.features.npu.fusing import own_activation
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Int64 = NDArray[np.int64]


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
    whole = operands.result[copied_whole(operands)]
    if len(whole):
        formats = formats.copy()
        formats[whole] = np.maximum(formats[whole], LINEAR)
    deep = deepened(subgraph, operands, owner)[owner]
    written = deep | (own_activation(subgraph, operands) & shallow(operands))[owner]
    if not written.any():
        return formats
    columns = subgraph.columns
    seen = np.zeros((2, len(formats)), dtype=np.bool_)
    # What is done on the way out is neither written nor read.
    own = owner == np.arange(len(owner))
    for table in (columns.operator_inputs, columns.operator_outputs):
        rows = table.row_indices
        there = (table.values >= 0) & (own[rows] | (table is columns.operator_outputs))
        shaped = written if table is columns.operator_outputs else deep
        seen[shaped[rows[there]].astype(np.int64), table.values[there]] = True
    return np.where(seen.all(axis=0) & (formats == BRICKS), LINEAR, formats)
