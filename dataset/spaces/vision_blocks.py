"""Blocks of image networks, beside the plain ones in `blocks.py`; parameters are plain JSON values."""

from __future__ import annotations

import math

from dataset.builder import Builder, Tensor
from dataset.spaces.blocks import BLOCKS, Block, activate, conv, depthwise, pointwise, squeeze_excite


def inverted(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Expand, filter depthwise, perhaps squeeze, project: MobileNetV2's block and its descendants."""
    activation = p["activation"]
    y = x if p["expansion"] == 1 else pointwise(b, x, x.shape[-1] * p["expansion"], activation)
    y = depthwise(b, _padded(b, y, p), {**p, "padding": "valid" if p.get("pad") else "same"})
    if p.get("squeeze"):
        y = squeeze_excite(b, y, p["squeeze"])
    y = pointwise(b, y, p["filters"], "none")
    return b.add(x, y) if x.shape == y.shape else y


def fused_inverted(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Expand with a full convolution, then project: EfficientNetV2's and MobileNet-EdgeTPU's block."""
    y = conv(b, x, {**p, "filters": x.shape[-1] * p["expansion"]})
    y = pointwise(b, y, p["filters"], "none")
    return b.add(x, y) if x.shape == y.shape else y


def bottleneck(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Narrow, convolve (perhaps in groups), widen, beside a shortcut: ResNet-50's and ResNeXt's block."""
    groups = p.get("groups", 1)
    inner = max(groups, p["filters"] // 4 // groups * groups)
    y = pointwise(b, x, inner, p["activation"])
    y = conv(b, y, {**p, "filters": inner})
    y = pointwise(b, y, p["filters"], "none")
    if x.shape != y.shape:
        shortcut = {"filters": p["filters"], "kernel": (1, 1), "stride": p["stride"], "activation": "none"}
        x = conv(b, x, shortcut)
    return b.add(x, y, activation="relu")


def fire(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Squeeze to few channels, expand side by side: SqueezeNet's block."""
    y = pointwise(b, x, max(4, p["filters"] // 8), "relu")
    half = p["filters"] // 2
    wide = conv(b, y, {"filters": half, "kernel": p["kernel"], "activation": "relu"})
    return b.concat([pointwise(b, y, half, "relu"), wide])


def shuffle(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Split channels, work on one half, shuffle both: ShuffleNetV2's block."""
    if x.shape[-1] % 4:
        x = pointwise(b, x, math.ceil(x.shape[-1] / 4) * 4, p["activation"])
    keep, work = b.split(x, 2)
    y = pointwise(b, work, work.shape[-1], p["activation"])
    y = depthwise(b, y, {"kernel": p["kernel"], "activation": "none"})
    y = b.concat([keep, pointwise(b, y, keep.shape[-1], p["activation"])])
    return channel_shuffle(b, y, 2)


def channel_shuffle(b: Builder, x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` groups, as converters write it: reshape, transpose, reshape."""
    batch, height, width, channels = x.shape
    y = b.reshape(x, (batch, height * width, groups, channels // groups))
    return b.reshape(b.transpose(y, (0, 1, 3, 2)), (batch, height, width, channels))


def dense(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Concatenate a few new channels to all earlier ones, several times: DenseNet's block."""
    for _ in range(p["layers"]):
        y = pointwise(b, x, 4 * p["growth"], "relu")
        x = b.concat([x, conv(b, y, {"filters": p["growth"], "kernel": p["kernel"], "activation": "relu"})])
    return x


def inception(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Work at several scales side by side, one branch a pool: GoogLeNet's block."""
    quarter = max(4, p["filters"] // 4)
    three = conv(b, pointwise(b, x, quarter, "relu"), {"filters": quarter, "activation": "relu"})
    five = pointwise(b, x, max(4, quarter // 2), "relu")
    if p.get("factorized"):
        five = conv(b, five, {"filters": quarter, "kernel": (1, 7), "activation": "relu"})
        five = conv(b, five, {"filters": quarter, "kernel": (7, 1), "activation": "relu"})
    else:
        five = conv(b, five, {"filters": quarter, "kernel": (5, 5), "activation": "relu"})
    add_pool = b.max_pool if p["pool"] == "max" else b.average_pool
    pooled = pointwise(b, add_pool(x, kernel=(3, 3), stride=(1, 1), padding="same"), quarter, "relu")
    return b.concat([pointwise(b, x, quarter, "relu"), three, five, pooled])


def aspp(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Dilated convolutions side by side, with the image's mean resized beside them: DeepLab's head."""
    size = (x.shape[1], x.shape[2])
    parts = [pointwise(b, x, p["filters"], "relu")]
    for rate in p["rates"]:
        parts.append(conv(b, x, {"filters": p["filters"], "dilation": (rate, rate), "activation": "relu"}))
    mean = b.average_pool(x, kernel=size, stride=(1, 1))
    parts.append(b.resize_bilinear(pointwise(b, mean, p["filters"], "relu"), size))
    return pointwise(b, b.concat(parts), p["filters"], "relu")


def gate(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Multiply one half of new channels with the logistic of the other: a gated linear unit."""
    signal, control = b.split(pointwise(b, x, 2 * p["filters"], "none"), 2)
    return b.mul(signal, b.logistic(control))


def pad_conv(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Pad explicitly, then convolve without padding: what converters from PyTorch write."""
    return conv(b, _padded(b, x, {**p, "pad": True}), {**p, "padding": "valid"})


def resize(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Resize by a factor, by either method."""
    add = b.resize_bilinear if p["method"] == "bilinear" else b.resize_nearest
    size = (x.shape[1] * p["factor"], x.shape[2] * p["factor"])
    return add(x, size, half_pixel=p.get("half_pixel", True))


def crop(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Cut the border away, or every other row and column."""
    batch, height, width, channels = x.shape
    margin = p["margin"] if min(height, width) > 2 * p["margin"] + 1 else 0
    begin, end = (0, margin, margin, 0), (batch, height - margin, width - margin, channels)
    return b.strided_slice(x, begin, end, (1, p["step"], p["step"], 1))


def _padded(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Pad by half of the (dilated) kernel on each side where the block asks for it."""
    if not p.get("pad"):
        return x
    rows, columns = (
        (kernel - 1) * dilation // 2
        for kernel, dilation in zip(p["kernel"], p.get("dilation", (1, 1)), strict=True)
    )
    return b.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))


def standalone(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Add an activation as an operator of its own."""
    return activate(b, x, p["function"])


VISION_BLOCKS = {
    **BLOCKS,
    "inverted": inverted,
    "fused_inverted": fused_inverted,
    "bottleneck": bottleneck,
    "fire": fire,
    "shuffle": shuffle,
    "dense": dense,
    "inception": inception,
    "aspp": aspp,
    "gate": gate,
    "pad_conv": pad_conv,
    "resize": resize,
    "crop": crop,
    "standalone": standalone,
}
