"""What moves and resizes images on an NPU, and how often: copies, doubled images, four phases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu_draft import Draft
from perfsage.features.npu_work import ELEMENTWISE, NOTHING, POOLING, TRANSPOSED, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

BILINEAR, NEAREST = "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"


def resize_passes(draft: Draft, operands: Operands) -> Float64:
    """U55 doubles images until they are large enough; four depthwise convolutions each if bilinear."""
    factor = np.maximum(draft.out[:, 0] / np.maximum(draft.into[:, 0], 1.0), 1.0)
    stages = (4.0 - factor**-2.0 * 4.0) / 3.0
    passes = np.where(operands.is_type(BILINEAR) & (draft.into[:, :2] > 1).any(axis=1), 4.0 * stages, 1.0)
    return np.where(operands.is_type(NEAREST), np.maximum(stages, 1.0), passes)


def kinds_u85(kind: NDArray[np.int64], resized: NDArray[np.bool_]) -> NDArray[np.int64]:
    """U85 resizes by a unit of its own, as fast as it adds, and transposes like it pools."""
    return np.where(kind == TRANSPOSED, POOLING, np.where(resized & (kind != NOTHING), ELEMENTWISE, kind))


def copy_parts(draft: Draft, subgraph: Subgraph, operands: Operands) -> Float64:
    """A part of a concatenation that others read, too, is copied; return the share of the result."""
    joined = operands.is_type("CONCATENATION")
    share = np.ones(len(joined))
    if not joined.any():
        return share
    table = subgraph.columns.operator_inputs
    shared = np.bincount(table.values[table.values >= 0], minlength=operands.absent + 1) > 1
    elements = operands.dimensions.prod(axis=1)
    copied = np.bincount(table.row_indices, (elements * shared)[table.values], len(joined))
    part = joined & (copied > 0)
    draft.kind[part] = POOLING
    draft.kernel[part] = 1.0
    share[part] = (copied / elements[operands.result])[part]
    return share
