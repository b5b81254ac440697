"""Transformer blocks as converters write them: layer norm and softmax attention in plain operators."""

from __future__ import annotations

import numpy as np

from dataset.builder import Builder, Tensor
from dataset.spaces.blocks import Block, activate

_EPSILON = 1e-3


def layer_norm(b: Builder, x: Tensor) -> Tensor:
    """Normalize the last axis: mean, squared difference, mean, add, rsqrt, two mul, sub, add."""
    channels = x.shape[-1]
    mean = b.mean(x, axes=(-1,), keep_dims=True)
    variance = b.mean(b.squared_difference(x, mean), axes=(-1,), keep_dims=True)
    inverse = b.rsqrt(b.add(variance, _vector(b, (1,), _EPSILON), positive=True))
    scale = b.mul(inverse, _vector(b, (channels,), 1.0))
    return b.add(b.mul(x, scale), b.sub(_vector(b, (channels,), 0.0), b.mul(mean, scale)))


def _vector(b: Builder, shape: tuple[int, ...], value: float) -> Tensor:
    """Return a constant near `value`, quantized where the network is."""
    if not b.is_int8:
        return b.constant(np.full(shape, value, np.float32))
    scale = max(abs(value), 0.05) / 100
    return b.constant(np.full(shape, round(value / scale), np.int8), scale=scale)


def attention(b: Builder, x: Tensor, heads: int) -> Tensor:
    """Mix [batch, tokens, channels] by softmax attention with `heads` heads, which divide the channels."""
    batch, tokens, channels = x.shape
    depth = channels // heads
    query, key, value = (_heads(b, b.fully_connected(x, channels), heads) for _ in range(3))
    weights = b.softmax(b.batch_matmul(query, key, transpose_b=True))
    mixed = b.transpose(b.batch_matmul(weights, value), (0, 2, 1, 3))
    return b.fully_connected(b.reshape(mixed, (batch, tokens, heads * depth)), channels)


def _heads(b: Builder, x: Tensor, heads: int) -> Tensor:
    batch, tokens, channels = x.shape
    return b.transpose(b.reshape(x, (batch, tokens, heads, channels // heads)), (0, 2, 1, 3))


def transformer(b: Builder, x: Tensor, p: Block) -> Tensor:
    """Attention and a two-layer perceptron, each beside a shortcut; norms before or after."""
    before = p["norm"] == "before"
    y = attention(b, layer_norm(b, x) if before else x, p["heads"])
    x = b.add(x, y)
    if p["norm"] == "after":
        x = layer_norm(b, x)
    y = layer_norm(b, x) if before else x
    y = b.fully_connected(y, x.shape[-1] * p["expansion"])
    y = b.fully_connected(activate(b, y, p["activation"]), x.shape[-1])
    x = b.add(x, y)
    return layer_norm(b, x) if p["norm"] == "after" else x


def tokens(b: Builder, x: Tensor) -> Tensor:
    """Turn an image into a sequence of its pixels."""
    batch, height, width, channels = x.shape
    return b.reshape(x, (batch, height * width, channels))
