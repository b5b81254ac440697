"""Pieces that several networks share."""

from __future__ import annotations

import numpy as np

from dataset.builder import Activation, Builder, Tensor


def divisible(channels: float, by: int = 8) -> int:
    """Round channels to a multiple of `by`, never losing more than a tenth."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def inverted(
    b: Builder,
    x: Tensor,
    filters: int,
    *,
    expansion: int,
    stride: int = 1,
    kernel: int = 3,
    activation: Activation = "relu6",
) -> Tensor:
    """Expand, filter depthwise, project, beside a shortcut where shapes agree (MobileNetV2's block)."""
    y = x if expansion == 1 else b.conv(x, x.shape[-1] * expansion, kernel=1, activation=activation)
    y = b.depthwise(y, kernel=kernel, stride=stride, activation=activation)
    y = b.conv(y, filters, kernel=1)
    return b.add(x, y) if x.shape == y.shape else y


def separable(
    b: Builder, x: Tensor, filters: int, *, stride: int = 1, activation: Activation = "relu6"
) -> Tensor:
    """Filter depthwise, then mix channels (MobileNetV1's block)."""
    return b.conv(
        b.depthwise(x, stride=stride, activation=activation), filters, kernel=1, activation=activation
    )


def classes(b: Builder, x: Tensor, count: int = 1000) -> None:
    """Average the image, and end the network with a fully connected layer and softmax."""
    b.output(b.softmax(b.fully_connected(b.mean(x), count)))


def constant(b: Builder, shape: tuple[int, ...], value: float) -> Tensor:
    """Return a constant near `value`, quantized where the network is."""
    if not b.is_int8:
        return b.constant(np.full(shape, value, np.float32))
    scale = max(abs(value), 0.05) / 100
    return b.constant(np.full(shape, round(value / scale), np.int8), scale=scale)
