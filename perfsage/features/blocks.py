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
from perfsage.graph.columns import Columns

Float64 = NDArray[np.float64]

MATRIX_OPERATORS = ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
WINDOW_OPERATORS = ("DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def block_costs(operands: Operands, shapes: Float64, macs: Float64, weight_bytes: Float64) -> Float64:
    """Return float64[n, 4]: `block_macs`, `block_outputs`, bytes of weights before coding, `channels`."""
    width = np.where(shapes[:, 2] > 1, _up(shapes[:, 2], 2), 1.0)
    positions = shapes[:, 0] * shapes[:, 1] * width
    channels = _up(shapes[:, 3], 8)
    kernel = shapes[:, 7] * shapes[:, 8]
    depth = shapes[:, 9]
    matrix, window = operands.is_type(*MATRIX_OPERATORS), operands.is_type(*WINDOW_OPERATORS)
    steps = np.minimum(kernel * _up(depth, 32), _up(kernel, 4) * _up(depth, 8))
    steps = np.where(window, _up(kernel, 4) * 8, steps)
    made = np.empty((len(macs), 4))
    made[:, 0] = np.where(matrix | window, positions * channels * steps, macs)
    made[:, 1] = positions * channels
    made[:, 2] = weight_bytes
    made[:, 3] = np.where(operands.has_weight & (macs > 0), shapes[:, 3], 0.0)
    return made


def spanned_macs(operands: Operands, shapes: Float64, macs: Float64, columns: Columns) -> Float64:
    """Return products as NPUs count them, float64[n]: zeros that fill something up are multiplied as well.

    Kernels are filled up where their dilation is beyond MOST_DILATION and cannot be halved, and what
    transposed convolutions read where outputs are apart.
    """
    names = ("dilation_h_factor", "dilation_w_factor", "stride_h", "stride_w")
    apart = np.maximum([columns.attribute(name) for name in names], 1).astype(np.float64)
    wide = apart[:2].max(axis=0) > MOST_DILATION
    step = apart[:2] / np.where(apart[:2] % 2 == 0, 2.0, 1.0)
    kernel = np.maximum(shapes[:, 7:9].T, 1.0)
    filled = (((kernel - 1.0) * np.maximum(step, 1.0) + 1.0) / kernel).prod(axis=0)
    between = np.where(operands.is_type("TRANSPOSE_CONV"), apart[2:].prod(axis=0), 1.0)
    return np.asarray(macs * np.where(wide, filled, between))


def _up(values: Float64, multiple: int) -> Float64:
    return np.asarray(np.ceil(values / multiple) * multiple)
