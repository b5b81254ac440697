"""A small vision transformer: ViT-Ti/16 (arXiv 2010.11929, 2012.12877)."""

from __future__ import annotations

from dataset.builder import Builder
from dataset.spaces.attention import layer_norm, transformer
from dataset.zoo.parts import constant

_CHANNELS = 192
_LAYERS = 12


def vit_tiny(b: Builder, batch: int) -> None:
    """Add ViT-Ti/16 over 224 x 224 pixels; the mean over its 196 patches stands in for a class token."""
    x = b.conv(b.input((batch, 224, 224, 3)), _CHANNELS, kernel=16, stride=16, padding="valid")
    x = b.reshape(x, (batch, 196, _CHANNELS))
    x = b.add(x, constant(b, (1, 196, _CHANNELS), 0.02))
    for _ in range(_LAYERS):
        x = transformer(b, x, {"norm": "before", "heads": 3, "expansion": 4, "activation": "gelu"})
    x = b.mean(layer_norm(b, x), axes=(1,))
    b.output(b.softmax(b.fully_connected(x, 1000)))
