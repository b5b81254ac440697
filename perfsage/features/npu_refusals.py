"""Which operators Ethos-U compilers leave to the CPU: these take no time in an NPU's figure.

The rules are those that Vela 5 prints as constraints ("supported operators"). Only those that real and
sampled networks run into are here; predictors see the flags, and learn what else there is from labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Operands
from perfsage.graph.columns import Columns

Flags = NDArray[np.bool_]
MOST_SOFTMAX_ROWS = 65536


def refusals(columns: Columns, operands: Operands, shapes: NDArray[np.float64]) -> Flags:
    """Return bool[n, 2]: left to the CPU by U55 and U65, and by U85."""
    strides = np.stack([columns.attribute("stride_h"), columns.attribute("stride_w")], axis=1)
    both = operands.is_type("SOFTMAX") & (shapes[:, :3].prod(axis=1) >= MOST_SOFTMAX_ROWS)
    both |= operands.is_type("DEPTH_TO_SPACE")
    old = operands.is_type("TRANSPOSE_CONV") & (strides.max(axis=1) > 2)
    old |= _far_convolutions(columns, operands, shapes, strides)
    made = [
        _resizes(columns, operands, shapes, u85=False) | old,
        _resizes(columns, operands, shapes, u85=True),
    ]
    return np.stack([both | refused for refused in made], axis=1)


def _far_convolutions(
    columns: Columns, operands: Operands, shapes: NDArray[np.float64], strides: NDArray[np.integer]
) -> Flags:
    """Strides beyond 3 need plain kernels, and no element beside the image."""
    dilation = np.stack([columns.attribute(f"dilation_{axis}_factor") for axis in "hw"], axis=1)
    reach = (shapes[:, 1:3] - 1) * strides + (shapes[:, 7:9] - 1) * np.maximum(dilation, 1) + 1
    padded = (columns.attribute("padding") == 0) & (reach > shapes[:, 4:6]).any(axis=1)
    far = operands.is_type("CONV_2D") & (strides.max(axis=1) > 3)
    return np.asarray(far & ((dilation > 1).any(axis=1) | padded))


def _resizes(columns: Columns, operands: Operands, shapes: NDArray[np.float64], *, u85: bool) -> Flags:
    """Factors must be powers of two; on U55 and U65 2, 4 or 8 and alike, on U85 for bilinear ones only."""
    nearest = () if u85 else ("RESIZE_NEAREST_NEIGHBOR",)
    resize = operands.is_type("RESIZE_BILINEAR", *nearest)
    if not resize.any():
        return resize
    out, into = shapes[:, 1:3], shapes[:, 4:6]
    aligned = columns.attribute("align_corners").astype(bool)[:, None] & (into > 1)
    half = columns.attribute("half_pixel_centers").astype(bool) & operands.is_type("RESIZE_BILINEAR")
    factor = np.where(aligned, (out - 1) / np.maximum(into - 1, 1), out / into)
    unchanged = (into == 1).all(axis=1) | (out == into).all(axis=1)
    power = np.isin(factor, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]).all(axis=1)
    alike = np.isin(factor[:, 0], [2.0, 4.0, 8.0]) & (factor[:, 0] == factor[:, 1])
    fine = power if u85 else alike & (~half | (factor[:, 0] == 2.0))
    return np.asarray(resize & ~unchanged & ~fine)
