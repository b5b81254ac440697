"""Blocks that spaces share: each adds a few operators to a builder.

Parameters are plain JSON values, so that an architecture is a list of {"kind": ..., parameters}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataset.builder import Builder, Tensor

Block = dict[str, Any]


def activate(b: Builder, x: Tensor, kind: str) -> Tensor:
    """Add an activation that cannot be fused into a convolution; fused kinds add nothing."""
    if kind in _FUSED:
        return x
    if kind == "swish":
        return b.mul(x, b.logistic(x))
    stand_alone: Callable[[Tensor], Tensor] = getattr(b, kind)
    return stand_alone(x)


_FUSED = ("none", "relu", "relu6")


def _fused(kind: str) -> Any:
    return kind if kind in _FUSED else "none"


def conv(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add a convolution and its activation."""
    activation = p.get("activation", "relu")
    x = b.conv(
        x,
        p["filters"],
        kernel=tuple(p.get("kernel", (3, 3))),
        stride=tuple(p.get("stride", (1, 1))),
        dilation=tuple(p.get("dilation", (1, 1))),
        padding=p.get("padding", "same"),
        groups=p.get("groups", 1),
        activation=_fused(activation),
    )
    return activate(b, x, activation)


def depthwise(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add a depthwise convolution and its activation."""
    activation = p.get("activation", "relu")
    x = b.depthwise(
        x,
        kernel=tuple(p.get("kernel", (3, 3))),
        stride=tuple(p.get("stride", (1, 1))),
        dilation=tuple(p.get("dilation", (1, 1))),
        multiplier=p.get("multiplier", 1),
        padding=p.get("padding", "same"),
        activation=_fused(activation),
    )
    return activate(b, x, activation)


def pointwise(b: Builder, x: Tensor, filters: int, activation: str) -> Tensor:
    """Add a 1x1 convolution and its activation."""
    return conv(b, x, {"filters": filters, "kernel": (1, 1), "activation": activation})


def separable(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add a depthwise convolution and a pointwise one, as in MobileNet and DS-CNN."""
    y = depthwise(b, x, p)
    if p.get("squeeze"):
        y = squeeze_excite(b, y, p["squeeze"])
    y = pointwise(b, y, p["filters"], p.get("activation", "relu"))
    return b.add(x, y) if p.get("residual") and x.shape == y.shape else y


def residual(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add two convolutions beside a shortcut, as in ResNet; the shortcut is projected where shapes differ."""
    y = conv(b, conv(b, x, p), {**p, "stride": (1, 1), "activation": "none"})
    if x.shape != y.shape:
        x = conv(
            b, x, {"filters": p["filters"], "kernel": (1, 1), "stride": p["stride"], "activation": "none"}
        )
    activation = p.get("activation", "relu")
    return activate(b, b.add(x, y, activation=_fused(activation)), activation)


def branches(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add convolutions of several kernels side by side and concatenate them, as in Inception."""
    parts = [conv(b, x, {**p, "kernel": kernel}) for kernel in p["kernels"]]
    return b.concat(parts)


def squeeze_excite(b: Builder, x: Tensor, reduction: int) -> Tensor:
    """Scale channels by what a small network makes of their means."""
    channels = x.shape[-1]
    y = b.mean(x, keep_dims=True)
    y = pointwise(b, y, max(4, channels // reduction), "relu")
    return b.mul(x, b.logistic(b.conv(y, channels, kernel=1)))


def pool(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add a pool of either kind."""
    add = b.max_pool if p["pool"] == "max" else b.average_pool
    return add(x, kernel=tuple(p["kernel"]), stride=tuple(p["stride"]), padding=p.get("padding", "same"))


BLOCKS: dict[str, Callable[[Builder, Tensor, Block], Tensor]] = {
    "conv": conv,
    "depthwise": depthwise,
    "separable": separable,
    "residual": residual,
    "branches": branches,
    "pool": pool,
}


def add_block(b: Builder, x: Tensor, block: Block) -> Tensor:
    """Add the block of that kind."""
    return BLOCKS[block["kind"]](b, x, block)


def _reduce(b: Builder, x: Tensor, how: str) -> Tensor:
    """Turn [batch, height, width, channels] into [batch, features]."""
    batch, height, width, channels = x.shape
    if how == "mean":
        return b.mean(x)
    if how == "average_pool":
        return b.reshape(b.average_pool(x, kernel=(height, width), stride=(1, 1)), (batch, channels))
    return b.reshape(x, (batch, height * width * channels))


def classify(b: Builder, x: Tensor, head: Block) -> Tensor:
    """Reduce an image (or features: "none") to classes, by hidden layers and perhaps softmax."""
    if head["reduce"] != "none":
        x = _reduce(b, x, head["reduce"])
    for units in head["hidden"]:
        x = b.fully_connected(x, units, activation="relu")
    x = b.fully_connected(x, head["classes"])
    return b.softmax(x) if head["softmax"] else x
