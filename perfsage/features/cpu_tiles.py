"""What XNNPACK makes of convolutions and matrices: tiles of 7 rows by 16 outputs by 8 inputs.

A depthwise convolution has kernels for windows of up to 3, 9 and 25 elements. Larger ones, and those that
make several channels of one, are convolutions of as many groups: a whole tile for each channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import Float64
from perfsage.features.operands import Operands

_ROWS, _OUTPUTS, _DEPTH = 7, 16, 8
_WINDOWS: Final = np.array([3, 9, 25])
_OTHER, _DIRECT, _DENSE, _SINGLE, _GROUPED, _TRANSPOSED = range(6)
"""Nothing of that; windows of several elements; of one; a single row; a channel at a time; transposed."""
_MATRIX_NS: Final = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1.17, 0.0572, 0.0517, 5.37, 0, 1.62, 13.7, 20.8, 0.0179],
        [1.3, 0.0519, 0, 7.02, 0, 3.85, 0, 0.568, 0.00764],
        [0.528, 0, 0, 0, 0, 0, 0, 29.6, 0],
        [1.62, 0.0547, 0, 0, 0.963, 0, 0, 219, 1.33],
        [0, 0.423, 0.194, 0, 7.38, 0, 0, 50, 0],
    ]
)
"""Of a step of a tile and of a row in it, of looking up a row, of a tile and of a row in it, of what rows and
outputs share, of a call, and of a result among many: what `_matrix_basis` counts."""
_WINDOW_NS: Final = np.array(
    [
        [1.26, 0.606, 0.0811, 0.632, 3.41, 56],
        [2.84, 0.525, 0.806, 0.583, 3.17, 48],
        [7.49, 0, 5.03, 0, 3.42, 52],
    ]
)
"""Of 16 and of 32 channels, of a position, of a last few channels, of a line and of a call."""
_MANY_BYTES: Final = 256e3
"""Results that take more are written to beyond the core's nearest caches."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Nanoseconds of matrices and of depthwise windows, and the bytes of packed weights, each float64[n].

    `packed_outputs` float64[n] are the outputs that these are packed for, with those that fill the last tile;
    `gathers`, `windows` and `transposes` bool[n] are which look their rows up: tiles, depthwise windows and
    transposed convolutions.
    """

    matrix_ns: Float64
    window_ns: Float64
    packed_bytes: Float64
    packed_outputs: Float64
    gathers: NDArray[np.bool_]
    windows: NDArray[np.bool_]
    transposes: NDArray[np.bool_]


def tiling(operands: Operands, shapes: Float64, strides: Float64) -> Tiling:
    """Return what each operator takes; `strides` float64[n, 2] are 1 where there are none."""
    kinds, window = _kinds(operands, shapes, strides)
    basis, packed, outputs = _matrix_basis(operands, shapes, strides, kinds)
    window_ns, rows = np.zeros(len(kinds)), np.flatnonzero(window)
    if len(rows):
        counted = _window_basis(shapes[rows])
        steps = np.searchsorted(_WINDOWS, shapes[rows, 7] * shapes[rows, 8])
        window_ns[rows] = (counted * _WINDOW_NS[steps]).sum(axis=1)
        outputs[rows] = counted[:, 0] / counted[:, 2] * _OUTPUTS
        packed[rows] = outputs[rows] * _WINDOWS[steps]
    gathers = (kinds == _DIRECT) | (kinds == _GROUPED)
    matrix_ns = (basis * _MATRIX_NS[kinds]).sum(axis=1)
    return Tiling(matrix_ns, window_ns, packed, outputs, gathers, window, kinds == _TRANSPOSED)


def _kinds(
    operands: Operands, shapes: Float64, strides: Float64
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the kind of each operator, and which are depthwise windows instead."""
    convolves, deep = operands.is_type("CONV_2D"), operands.is_type("DEPTHWISE_CONV_2D")
    taps, rows = shapes[:, 7] * shapes[:, 8], shapes[:, :3].prod(axis=1)
    # A convolution of as many groups as channels is a depthwise one.
    single = deep | (convolves & (shapes[:, 9] == 1) & (shapes[:, 6] > 1))
    window = single & (shapes[:, 3] == shapes[:, 6]) & (taps <= _WINDOWS[-1])
    dense = (convolves & (taps == 1) & (strides == 1).all(axis=1)) | operands.is_type("FULLY_CONNECTED")
    kinds = np.zeros(len(rows), dtype=np.int64)
    kinds[operands.is_type("TRANSPOSE_CONV")] = _TRANSPOSED
    kinds[convolves] = _DIRECT
    kinds[dense] = _DENSE
    kinds[dense & (rows <= 1)] = _SINGLE
    kinds[deep] = _GROUPED
    kinds[window] = _OTHER
    return kinds, window


def _matrix_basis(
    operands: Operands, shapes: Float64, strides: Float64, kinds: NDArray[np.int64]
) -> tuple[Float64, Float64, Float64]:
    """Return what `_MATRIX_NS` is the price of, float64[n, 9], and packed weights' bytes and outputs."""
    taps, grouped = shapes[:, 7] * shapes[:, 8], kinds == _GROUPED
    depth = np.where(grouped, 1.0, shapes[:, 9])
    split = grouped | operands.is_type("CONV_2D")
    groups = np.where(split, np.maximum(np.rint(shapes[:, 6] / depth), 1.0), 1.0)
    # Floats are multiplied one input at a time, two of which take as long as eight bytes.
    quantized = operands.element_types()[:, 0] <= 1
    steps = taps * np.where(quantized, np.ceil(depth / _DEPTH), depth / 2.0)
    rows, row_tiles, phases = _rows(shapes, strides, kinds)
    output_tiles = groups * np.ceil(shapes[:, 3] / groups / _OUTPUTS)
    tiles, begun = row_tiles * output_tiles, rows * output_tiles
    made = np.empty((len(rows), _MATRIX_NS.shape[1]))
    made[:, 0], made[:, 1] = tiles * steps / phases, begun * steps / phases
    made[:, 2] = begun * taps / phases
    made[:, 3], made[:, 4] = tiles, begun
    made[:, 5], made[:, 6], made[:, 7] = row_tiles, output_tiles, 1.0
    results = rows * shapes[:, 3]
    made[:, 8] = np.where(results > _MANY_BYTES, results, 0.0)
    outputs = np.where(kinds > 0, output_tiles * _OUTPUTS, 0.0)
    return made, outputs * steps * _DEPTH, outputs


def _rows(shapes: Float64, strides: Float64, kinds: NDArray[np.int64]) -> tuple[Float64, Float64, Float64]:
    """Return the rows of results, their tiles, and in how many phases a transposed convolution goes.

    The latter takes every so many results of a line at a time, and that share of its kernel.
    """
    rows, transposed = shapes[:, :3].prod(axis=1), kinds == _TRANSPOSED
    lines = shapes[:, 0] * shapes[:, 1] * strides[:, 1]
    across = np.ceil(np.ceil(shapes[:, 2] / strides[:, 1]) / _ROWS)
    tiles = np.where(transposed, lines * across, np.ceil(rows / _ROWS))
    return rows, tiles, np.where(transposed, strides.prod(axis=1), 1.0)


def _window_basis(shapes: Float64) -> Float64:
    """Return what `_WINDOW_NS` is the price of, float64[n, 6]."""
    positions, channels = shapes[:, :3].prod(axis=1), shapes[:, 3]
    made = np.empty((len(shapes), _WINDOW_NS.shape[1]))
    made[:, 0] = positions * np.ceil(channels / 16)
    made[:, 1] = positions * np.ceil(channels / 32)
    made[:, 2] = positions
    made[:, 3] = positions * (channels % 16 > 0)
    made[:, 4], made[:, 5] = shapes[:, 0] * shapes[:, 1], 1.0
    return made
