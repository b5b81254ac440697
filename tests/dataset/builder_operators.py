"""One small network for every operator of the builder, for the tests that run them on real tools."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataset.builder import Builder, Tensor

Add = Callable[[Builder, Tensor], Tensor]
SHAPE = (1, 8, 8, 4)


def vector(b: Builder, values: int) -> Tensor:
    """A constant along the last axis, int8 or float32."""
    if b.is_int8:
        return b.constant(np.arange(1, values + 1, dtype=np.int8), scale=0.05)
    return b.constant(np.linspace(0.1, 1, values, dtype=np.float32))


def rsqrt(b: Builder, x: Tensor) -> Tensor:
    variance = b.mean(
        b.squared_difference(x, b.mean(x, axes=(-1,), keep_dims=True)), axes=(-1,), keep_dims=True
    )
    return b.mul(x, b.rsqrt(b.add(variance, vector(b, 1), positive=True)))


def sequence(b: Builder, x: Tensor) -> Tensor:
    return b.reshape(x, (1, 16, 16))


OPERATORS: dict[str, Add] = {
    "conv": lambda b, x: b.conv(x, 6, kernel=(3, 5), stride=(2, 1), activation="relu6"),
    "conv_dilated": lambda b, x: b.conv(x, 6, dilation=2, activation="relu"),
    "conv_valid": lambda b, x: b.conv(x, 6, kernel=3, padding="valid"),
    "conv_grouped": lambda b, x: b.conv(x, 8, groups=2),
    "depthwise": lambda b, x: b.depthwise(x, kernel=3, stride=2, activation="relu6"),
    "depthwise_dilated": lambda b, x: b.depthwise(x, dilation=(2, 2)),
    "depthwise_multiplier": lambda b, x: b.depthwise(x, multiplier=3),
    "transpose_conv": lambda b, x: b.transpose_conv(x, 5, kernel=3, stride=2),
    "transpose_conv_valid": lambda b, x: b.transpose_conv(x, 5, kernel=2, stride=2, padding="valid"),
    "fully_connected": lambda b, x: b.fully_connected(b.reshape(x, (1, 256)), 7, activation="relu"),
    "fully_connected_rank3": lambda b, x: b.fully_connected(sequence(b, x), 7),
    "max_pool": lambda b, x: b.max_pool(x, kernel=3, stride=2, padding="same"),
    "average_pool": lambda b, x: b.average_pool(x, kernel=(2, 3), stride=(2, 1)),
    "mean": lambda b, x: b.mean(x),
    "mean_keep": lambda b, x: b.mean(x, axes=(1, 2), keep_dims=True),
    "add": lambda b, x: b.add(x, b.conv(x, 4), activation="relu"),
    "add_constant": lambda b, x: b.add(x, vector(b, 4)),
    "sub": lambda b, x: b.sub(x, b.conv(x, 4)),
    "mul": lambda b, x: b.mul(x, b.mean(x, keep_dims=True)),
    "concat": lambda b, x: b.concat([b.conv(x, 3), b.conv(x, 5), b.max_pool(x, kernel=1, stride=1)]),
    "pad": lambda b, x: b.pad(x, ((0, 0), (1, 1), (0, 1), (0, 0))),
    "reshape": lambda b, x: b.reshape(x, (1, 64, 4)),
    "transpose": lambda b, x: b.transpose(x, (0, 3, 1, 2)),
    "split": lambda b, x: b.add(*b.split(x, 2)),
    "strided_slice": lambda b, x: b.strided_slice(x, (0, 1, 0, 0), (1, 7, 8, 3), (1, 2, 1, 1)),
    "resize_bilinear": lambda b, x: b.resize_bilinear(x, 16),
    "resize_nearest": lambda b, x: b.resize_nearest(x, (16, 12)),
    "resize_nearest_corner": lambda b, x: b.resize_nearest(x, 16, half_pixel=False),
    "softmax": lambda b, x: b.softmax(b.reshape(x, (1, 256))),
    "logistic": lambda b, x: b.logistic(x),
    "tanh": lambda b, x: b.tanh(x),
    "relu": lambda b, x: b.relu(x),
    "relu6": lambda b, x: b.relu6(x),
    "leaky_relu": lambda b, x: b.leaky_relu(x),
    "hard_swish": lambda b, x: b.hard_swish(x),
    "gelu": lambda b, x: b.gelu(x),
    "depth_to_space": lambda b, x: b.depth_to_space(x, 2),
    "space_to_depth": lambda b, x: b.space_to_depth(x, 2),
    "batch_matmul": lambda b, x: b.batch_matmul(sequence(b, x), sequence(b, b.conv(x, 4))),
    "batch_matmul_transposed": lambda b, x: b.batch_matmul(x, b.conv(x, 4), transpose_b=True),
    "rsqrt": rsqrt,
    "lstm": lambda b, x: b.lstm(sequence(b, x), 12),
    "lstm_time_major": lambda b, x: b.lstm(b.reshape(x, (16, 1, 16)), 12, time_major=True),
}

NOT_IN_TFLM = {"gelu"}
"""Operators for which TFLM has no kernel."""


def network(operator: str, dtype: str, seed: int = 3) -> bytes:
    b = Builder(dtype=dtype, seed=seed)  # type: ignore[arg-type]
    b.output(OPERATORS[operator](b, b.input(SHAPE)))
    return b.finish()
