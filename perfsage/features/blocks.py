"""Costs as an NPU counts them: in whole blocks of channels and kernel elements, with buffers used in place.

Ethos-U multiplies blocks of 8 output channels by 32 values: kernel elements times input channels, either 1 by
32 or 4 by 8, whichever is fewer blocks. It stores activations in bricks of 16 channels. On 1,940 convolutions
that Vela estimated for Ethos-U55-128, the largest of these blocks, the outputs and the coded weights explains
the cycles to a median of 18 %, where MACs are off by a factor of 3; predictors learn the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu_formats import BRICK, JOINTS, PARTS
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.lifetimes import NEVER, lifetimes, live_bytes

Float64 = NDArray[np.float64]

MATRIX_OPERATORS = ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
WINDOW_OPERATORS = ("DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")
_IN_PLACE = """
    ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE ABS NEG SQUARE SQRT RSQRT EXP LOG SIN COS RELU
    RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU PRELU ELU GELU HARD_SWISH LOGISTIC TANH QUANTIZE RESHAPE
    SQUEEZE EXPAND_DIMS
"""
IN_PLACE = tuple(_IN_PLACE.split())
"""These may write their result over an input that nobody needs any more."""
VIEWS = (*JOINTS, *PARTS)
"""These need no second copy: their parts are written or read in place."""


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


def live_columns(subgraph: Subgraph, operands: Operands) -> tuple[Float64, Float64]:
    """Return the bytes alive at each operator, as the file has them and in bricks used in place."""
    columns = subgraph.columns
    lives = lifetimes(subgraph)
    bricks = _brick_bytes(subgraph, operands)
    alive = (lives.first > NEVER) & ~columns.tensor_is_variable & ~columns.tensor_is_constant
    size = np.where(alive, bricks[:-1], 0).astype(np.int64)
    running = np.maximum(lives.first, subgraph.spans[0])
    live = live_bytes(running[alive], lives.last[alive], size[alive], len(operands.type))
    saved = _saved(operands, np.append(lives.last, NEVER), np.append(size, 0))
    return lives.live_bytes.astype(np.float64), np.maximum(live - saved, 0).astype(np.float64)


def _brick_bytes(subgraph: Subgraph, operands: Operands) -> Float64:
    """Return the bytes of each tensor with its channels rounded up, except at the graph's ends."""
    channels = operands.dimensions[:, 3]
    factor = _up(channels, BRICK) / channels
    factor[[*subgraph.inputs, *subgraph.outputs]] = 1.0
    size = np.append(np.maximum(subgraph.columns.tensor_bytes, 0), 0)
    return np.asarray(np.ceil(size * factor / BRICK) * BRICK)


def _saved(operands: Operands, last: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bytes that each operator need not add to those of its inputs."""
    row = np.arange(len(operands.type))
    result = size[operands.result]
    dying = [np.where(last[tensor] == row, size[tensor], 0) for tensor in (operands.data, operands.second)]
    in_place = np.minimum(np.maximum(*dying), result)
    saved = np.where(operands.is_type(*IN_PLACE), in_place, 0)
    return np.asarray(np.where(operands.is_type(*VIEWS), result, saved))


def _up(values: Float64, multiple: int) -> Float64:
    return np.asarray(np.ceil(values / multiple) * multiple)
