"""Images that become larger on an NPU: doubled several times, or in four phases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.draft import Draft
from perfsage.features.npu.work import ELEMENTWISE, NOTHING, POOLING, TRANSPOSED, Float64
from perfsage.features.operands import Operands

BILINEAR, NEAREST = "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"
MOST_ENLARGED = 8.0


def lower_resizing(draft: Draft, operands: Operands, phases: NDArray[np.bool_]) -> Float64:
    """Make resizing what U55 does, some in `phases` bool[n]; return how often it is done.

    It doubles images until they are large enough, by a pooling of one element, and takes the mean over as
    many elements as it enlarges by at last. With half-pixel centres these are four depthwise convolutions
    (`phases`), and a single pixel is added to zeros.
    """
    bilinear, nearest = operands.is_type(BILINEAR), operands.is_type(NEAREST)
    factor = np.maximum(draft.out[:, :2] / np.maximum(draft.into[:, :2], 1.0), 1.0).max(axis=1)
    single = (draft.into[:, :2] == 1).all(axis=1)
    pooled = (bilinear & ~single & ~phases) | nearest
    draft.kind[bilinear & single] = ELEMENTWISE
    draft.kind[pooled] = POOLING
    draft.kernel[phases] = 2.0
    # Each writes every other pixel, and counts those between.
    draft.out[phases, :2] = 2.0 * draft.into[phases, :2] - 1.0
    draft.into[phases, :2] += 1.0
    draft.kernel[bilinear & pooled] = np.minimum(factor, MOST_ENLARGED)[bilinear & pooled, None]
    elements = np.maximum(draft.kernel.prod(axis=1), 4.0)
    doublings = (1.0 - 4.0 * factor**-2.0) / 3.0 * 4.0 / elements
    return np.where(phases, 4.0, np.where(pooled, 1.0 + np.maximum(doublings, 0.0), 1.0))


def kinds_u85(kind: NDArray[np.int64], resized: NDArray[np.bool_]) -> NDArray[np.int64]:
    """U85 resizes by a unit of its own, as fast as it adds, and transposes like it pools."""
    return np.where(kind == TRANSPOSED, POOLING, np.where(resized & (kind != NOTHING), ELEMENTWISE, kind))
