"""Bytes that operators keep on a CPU's heap as long as the network is loaded, beside its tensors.

XNNPACK packs weights (`cpu_tiles`), with a bias and a scale for each output, and where a kernel has a window
it keeps a pointer to each row that it reads: where each element of the window lies for each result. LiteRT
keeps a scale and a zero point for each channel, and both describe each operator. The rules are those that
single operators show (LiteRT 2.3.0 on x86-64); the constants are fitted to 450 int8 networks on an AMD EPYC.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from perfsage.features.cpu_tiles import Tiling
from perfsage.features.npu.work import Float64
from perfsage.features.operands import FLOATS, Flags, Operands, operator_flags, type_flags
from perfsage.graph import Subgraph

_POINTER_BYTES: Final = 8
_ROWS: Final = 7
"""Of a tile, each of which has pointers of its own."""
_BIAS_BYTES, _CHANNEL_BYTES = 8, 12
"""A bias and a scale as packed; what LiteRT keeps of a channel's quantization."""
_NETWORK_BYTES: Final = 103.5e3
_MATRIX_BYTES, _TAKEN_BYTES, _LEFT_BYTES = 4.5e3, 2.5e3, 1.5e3
"""Of an operator: a convolution or matrix, another that XNNPACK takes, and one that is left to LiteRT."""
_FURTHER_BYTES: Final = {"FULLY_CONNECTED": 1.1e3, "PAD": -1.7e3, "UNIDIRECTIONAL_SEQUENCE_LSTM": 8.9e3}
"""Of those that keep more or less than others of their kind: a convolution pads by itself, and LSTMs have
two dozen tensors."""
_CORNERS_BYTES: Final = 4 * _POINTER_BYTES + 4
"""Four corners and two weights of 16 bits for each position of a resized image."""

_TAKEN: Final = (
    *("ADD", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE"),
    *("FULLY_CONNECTED", "LEAKY_RELU", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD", "QUANTIZE"),
    *("RESHAPE", "RESIZE_BILINEAR", "SPACE_TO_DEPTH", "SPLIT", "SUB", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
)
_FLOATS_TAKEN: Final = (
    *("AVERAGE_POOL_2D", "BATCH_MATMUL", "GELU", "HARD_SWISH", "MAXIMUM", "MINIMUM", "RELU", "RELU6"),
    *("RSQRT", "SOFTMAX", "SQUARED_DIFFERENCE"),
)


def heap_bytes(subgraph: Subgraph, operands: Operands, shapes: Float64, tiles: Tiling) -> Float64:
    """Return what each operator keeps, float64[n]; the first one also what its network does.

    `shapes` float64[n, 11] are those that Operands.shapes returns.
    """
    packed = tiles.packed_outputs > 0
    made = tiles.packed_bytes + _BIAS_BYTES * tiles.packed_outputs
    made += np.where(packed, _CHANNEL_BYTES * shapes[:, 3], 0.0)
    made += _pointer_bytes(subgraph, operands, shapes, tiles)
    made += np.where(packed, _MATRIX_BYTES, np.where(taken(operands), _TAKEN_BYTES, _LEFT_BYTES))
    made += _FURTHER[operands.type]
    made[subgraph.operator_starts[:-1]] += _NETWORK_BYTES
    return made


def taken(operands: Operands) -> Flags:
    """Return which operators XNNPACK takes, bool[n]."""
    floats = type_flags(FLOATS)[operands.tensor_type[operands.data]]
    return np.asarray(operands.is_type(*_TAKEN) | (floats & operands.is_type(*_FLOATS_TAKEN)))


def _pointer_bytes(subgraph: Subgraph, operands: Operands, shapes: Float64, tiles: Tiling) -> Float64:
    """Return the bytes of the pointers to rows, which all images of a batch share, float64[n]."""
    taps, positions = shapes[:, 7] * shapes[:, 8], shapes[:, 1] * shapes[:, 2]
    rows = np.where(tiles.gathers, np.ceil(positions / _ROWS) * _ROWS, 0.0)
    pointers = np.where(tiles.transposes, positions, rows) * taps
    lines = tiles.windows | operands.is_type("MAX_POOL_2D")
    pointers = np.where(lines, _line_pointers(subgraph, shapes, taps), pointers)
    corners = np.where(operands.is_type("RESIZE_BILINEAR"), _CORNERS_BYTES * positions, 0.0)
    return np.asarray(_POINTER_BYTES * pointers + corners)


def _line_pointers(subgraph: Subgraph, shapes: Float64, taps: Float64) -> Float64:
    """Return how many there are where neighbours in a line share the columns of the window they both have."""
    attribute = subgraph.columns.attribute
    apart = np.minimum(np.maximum(attribute("stride_w"), 1), shapes[:, 8])
    fresh = np.where(attribute("dilation_w_factor") > 1, shapes[:, 8], apart)
    return np.asarray(shapes[:, 1] * (taps + (shapes[:, 2] - 1.0) * fresh * shapes[:, 7]))


def _further() -> Float64:
    """Return `_FURTHER_BYTES` of each builtin operator, float64[256]."""
    made = np.zeros(256)
    for name, value in _FURTHER_BYTES.items():
        made[operator_flags((name,))] = value
    return made


_FURTHER: Final = _further()
