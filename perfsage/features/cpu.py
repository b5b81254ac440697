"""Costs as a CPU counts them: in whole tiles of vector registers, or one value at a time.

Latencies of LiteRT with XNNPACK are as if 8-bit matrices were multiplied in tiles of 16 outputs by 8 inputs,
and depthwise ones 16 channels at once by kernels for 9 or for 25 elements; beyond, a MAC takes 13 times as
long. That is inferred from fits: no kernel was looked at. Sums over these columns, fitted to 8,011 int8
networks on a core of an AMD EPYC (LiteRT 2.3.0), are off by 8 % on 985 others, by which the constants were
chosen, where sums of MACs, outputs and bytes are off by 34 %.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from perfsage.features.npu.work import Float64, round_up
from perfsage.features.operands import Operands, operator_flags

CPU_COLUMNS: Final = ("tile_macs", "window_macs", "scalar_macs", "scalar_elements", "moved_bytes")
"""MACs in whole tiles, of matrices and of depthwise windows; MACs and results that are computed one at a
time; bytes that are copied in small pieces."""

_OUTPUTS, _DEPTH, _ROWS = 16, 8, 7
_TILE_ROWS: Final = 2
"""To begin with a tile of up to `_ROWS` rows takes as long as this many more."""
_STORE_MACS: Final = 54
"""To scale, round and store a result takes as long as this many MACs; so does to look up an input's row."""
_WINDOWS: Final = (9, 25)
_SCALAR_MACS: Final = {
    "AVERAGE_POOL_2D": 1.25,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 2.0,
    "TRANSPOSE_CONV": 0.1,
    "BATCH_MATMUL": 0.1,
}
"""What an operation of these takes, as a share of a MAC of a large depthwise window."""
_SCALAR_ELEMENTS: Final = {
    "HARD_SWISH": 1.0,
    "SOFTMAX": 0.65,
    "GELU": 1.0,
    "RSQRT": 1.0,
    "SQUARED_DIFFERENCE": 1.0,
    "TRANSPOSE_CONV": 1.0,
    "BATCH_MATMUL": 1.0,
}
_MOVED: Final = {
    "TRANSPOSE": 4.0,
    "SPLIT": 1.0,
    "STRIDED_SLICE": 1.0,
    "DEPTH_TO_SPACE": 1.0,
    "RESIZE_NEAREST_NEIGHBOR": 1.0,
}


def cpu_costs(operands: Operands, shapes: Float64, exact: Float64) -> Float64:
    """Return float64[n, len(CPU_COLUMNS)] from the shapes and the first five of PHYSICAL_COLUMNS.

    `shapes` float64[n, 11] are those that Operands.shapes returns.
    """
    macs, elementwise, written = exact[:, 0], exact[:, 1], exact[:, 3]
    results = shapes[:, :4].prod(axis=1)
    taps = shapes[:, 7] * shapes[:, 8]
    large = operands.is_type("DEPTHWISE_CONV_2D") & (taps > _WINDOWS[-1])
    pools = operands.is_type("AVERAGE_POOL_2D")
    made = np.empty((len(macs), len(CPU_COLUMNS)))
    made[:, 0] = _tile_macs(operands, shapes, taps)
    made[:, 1] = _window_macs(operands, shapes, taps)
    made[:, 2] = np.where(pools, elementwise, macs) * _weights("macs")[operands.type]
    made[large, 2] = macs[large]
    made[:, 3] = results * _weights("elements")[operands.type]
    made[:, 4] = written * _weights("moved")[operands.type]
    return made


def _tile_macs(operands: Operands, shapes: Float64, taps: Float64) -> Float64:
    """Return the MACs of convolutions and matrices in whole tiles, with what results and look-ups take."""
    convolves = operands.is_type("CONV_2D")
    rows = shapes[:, :3].prod(axis=1)
    outputs = round_up(shapes[:, 3], _OUTPUTS)
    quantized = operands.element_types()[:, 0] <= 1
    depth = np.where(quantized, round_up(shapes[:, 9], _DEPTH), shapes[:, 9])
    begun = rows + _TILE_ROWS * np.ceil(rows / _ROWS)
    made = begun * outputs * taps * depth + _STORE_MACS * rows * outputs
    # A convolution of one element a time reads rows where they lie.
    made += np.where(convolves & (taps > 1), _STORE_MACS * rows * taps, 0.0)
    return np.where(convolves | operands.is_type("FULLY_CONNECTED"), made, 0.0)


def _window_macs(operands: Operands, shapes: Float64, taps: Float64) -> Float64:
    """Return the MACs of depthwise convolutions by the kernels for 9 and 25 elements, 0 for larger."""
    small, large = _WINDOWS
    steps = np.where(taps <= small, small, np.where(taps <= large, large, 0))
    made = shapes[:, :3].prod(axis=1) * round_up(shapes[:, 3], _OUTPUTS) * steps
    return np.where(operands.is_type("DEPTHWISE_CONV_2D"), made, 0.0)


@cache
def _weights(kind: str) -> Float64:
    """Return what each builtin operator counts, float64[256]."""
    table = {"macs": _SCALAR_MACS, "elements": _SCALAR_ELEMENTS, "moved": _MOVED}[kind]
    made = np.zeros(256)
    for name, weight in table.items():
        made[operator_flags((name,))] = weight
    return made
