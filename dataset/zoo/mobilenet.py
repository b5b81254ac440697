"""MobileNet V1 (arXiv 1704.04861), V2 (1801.04381), V3 (1905.02244) and MnasNet (1807.11626)."""

from __future__ import annotations

from dataset.builder import Builder, Tensor
from dataset.zoo.parts import classes, constant, divisible, inverted, separable

V1_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
"""Filters and stride of each separable block."""
V2_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, filters, repetitions and stride of each stage."""
_V3_LARGE = (
    (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
)  # fmt: skip
"""Kernel, expanded filters, filters, squeeze-and-excite, hard swish, stride: the paper's table 1."""
_V3_SMALL = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip
_MNASNET_B1 = (
    (3, 3, 24, 3, 2), (5, 3, 40, 3, 2), (5, 6, 80, 3, 2), (3, 6, 96, 2, 1), (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)  # fmt: skip
"""Kernel, expansion, filters, repetitions, stride."""


def v1(b: Builder, batch: int, *, width: float = 1.0, pixels: int = 224) -> None:
    """Add MobileNetV1 with its width multiplier and input size."""
    x = b.conv(b.input((batch, pixels, pixels, 3)), divisible(32 * width), stride=2, activation="relu6")
    for filters, stride in V1_BLOCKS:
        x = separable(b, x, divisible(filters * width), stride=stride)
    classes(b, x)


def v2(b: Builder, batch: int, *, width: float = 1.0, pixels: int = 224) -> None:
    """Add MobileNetV2 with its width multiplier and input size."""
    x = b.conv(b.input((batch, pixels, pixels, 3)), divisible(32 * width), stride=2, activation="relu6")
    for expansion, filters, count, stride in V2_STAGES:
        for place in range(count):
            x = inverted(b, x, divisible(filters * width), expansion=expansion, stride=1 if place else stride)
    classes(b, b.conv(x, divisible(1280 * max(1.0, width)), kernel=1, activation="relu6"))


def v3_large(b: Builder, batch: int) -> None:
    """Add MobileNetV3-Large over 224 x 224 pixels."""
    _v3(b, batch, _V3_LARGE, 960, 1280)


def v3_small(b: Builder, batch: int) -> None:
    """Add MobileNetV3-Small over 224 x 224 pixels."""
    _v3(b, batch, _V3_SMALL, 576, 1024)


def _v3(
    b: Builder, batch: int, blocks: tuple[tuple[int, int, int, bool, bool, int], ...], last: int, head: int
) -> None:
    x = b.hard_swish(b.conv(b.input((batch, 224, 224, 3)), 16, stride=2))
    for block in blocks:
        x = _v3_block(b, x, *block)
    x = b.mean(b.hard_swish(b.conv(x, last, kernel=1)), keep_dims=True)
    x = b.hard_swish(b.conv(x, head, kernel=1))
    b.output(b.softmax(b.fully_connected(b.reshape(x, (batch, head)), 1000)))


def _v3_block(
    b: Builder, x: Tensor, kernel: int, inner: int, filters: int, squeeze: bool, swish: bool, stride: int
) -> Tensor:
    def filtered(y: Tensor) -> Tensor:
        plain = b.depthwise(y, kernel=kernel, stride=stride, activation="none" if swish else "relu")
        return b.hard_swish(plain) if swish else plain

    y = x
    if inner != x.shape[-1]:
        y = b.conv(x, inner, kernel=1, activation="none" if swish else "relu")
        y = b.hard_swish(y) if swish else y
    y = filtered(y)
    y = _squeeze_excite(b, y) if squeeze else y
    y = b.conv(y, filters, kernel=1)
    return b.add(x, y) if x.shape == y.shape else y


def _squeeze_excite(b: Builder, x: Tensor) -> Tensor:
    """Scale channels by a hard sigmoid, relu6(x + 3) / 6, of what two layers make of their means."""
    channels = x.shape[-1]
    y = b.conv(b.mean(x, keep_dims=True), divisible(channels / 4), kernel=1, activation="relu")
    y = b.add(b.conv(y, channels, kernel=1), constant(b, (1,), 3.0), activation="relu6")
    return b.mul(x, b.mul(y, constant(b, (1,), 1 / 6)))


def mnasnet_b1(b: Builder, batch: int) -> None:
    """Add MnasNet-B1, the variant without squeeze-and-excite."""
    x = b.conv(b.input((batch, 224, 224, 3)), 32, stride=2, activation="relu")
    x = b.conv(b.depthwise(x, activation="relu"), 16, kernel=1)
    for kernel, expansion, filters, count, stride in _MNASNET_B1:
        for place in range(count):
            x = inverted(
                b, x, filters, expansion=expansion, kernel=kernel, activation="relu",
                stride=1 if place else stride,
            )  # fmt: skip
    classes(b, b.conv(x, 1280, kernel=1, activation="relu"))
