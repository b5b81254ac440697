"""Costs as an NPU counts them: in whole blocks of channels and kernel elements.

Ethos-U multiplies blocks of 8 output channels by 32 values: kernel elements times input channels, either 1 by
32 or 4 by 8, whichever is fewer blocks. On 1,940 convolutions that Vela estimated for Ethos-U55-128, the
largest of these blocks, the outputs and the coded weights explains the cycles to a median of 18 %, where MACs
are off by a factor of 3; predictors learn the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import MOST_DILATION
from perfsage.features.operands import Operands

Float64 = NDArray[np.float64]

MATRIX_OPERATORS = ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
WINDOW_OPERATORS = ("DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def block_costs(
    operands: Operands, shapes: Float64, macs: Float64, weight_bytes: Float64, dilation: Float64
) -> Float64:
    """Return float64[n, 5]: `block_macs`, `block_outputs`, bytes of weights before coding, `channels` and
    `spanned_macs`: beyond MOST_DILATION, of `dilation` float64[n, 2], zeros are multiplied as well.
    """
    width = np.where(shapes[:, 2] > 1, _up(shapes[:, 2], 2), 1.0)
    positions = shapes[:, 0] * shapes[:, 1] * width
    channels = _up(shapes[:, 3], 8)
    kernel = shapes[:, 7] * shapes[:, 8]
    depth = shapes[:, 9]
    matrix, window = operands.is_type(*MATRIX_OPERATORS), operands.is_type(*WINDOW_OPERATORS)
    steps = np.minimum(kernel * _up(depth, 32), _up(kernel, 4) * _up(depth, 8))
    steps = np.where(window, _up(kernel, 4) * 8, steps)
    made = np.empty((len(macs), 5))
    made[:, 0] = np.where(matrix | window, positions * channels * steps, macs)
    made[:, 1] = positions * channels
    made[:, 2] = weight_bytes
    made[:, 3] = np.where(operands.has_weight & (macs > 0), shapes[:, 3], 0.0)
    wide = dilation.max(axis=1) > MOST_DILATION
    apart = dilation / np.where(dilation % 2 == 0, 2.0, 1.0)
    spans = ((shapes[:, 7:9] - 1.0) * np.maximum(apart, 1.0) + 1.0).prod(axis=1)
    made[:, 4] = macs * np.where(wide, spans / np.maximum(kernel, 1.0), 1.0)
    return made


def _up(values: Float64, multiple: int) -> Float64:
    return np.asarray(np.ceil(values / multiple) * multiple)
