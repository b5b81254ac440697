"""EfficientNet-Lite 0 to 4: EfficientNet (arXiv 1905.11946) without swish and squeeze-and-excite."""

from __future__ import annotations

import math

from dataset.builder import Builder
from dataset.zoo.parts import classes, divisible, inverted

_STAGES = (
    (3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2), (3, 6, 320, 1, 1),
)  # fmt: skip
"""Kernel, expansion, filters, repetitions, stride."""
_SCALES = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))
"""Width, depth and pixels by size. Stem and head keep their width, the first and last stage their depth."""


def lite(b: Builder, batch: int, *, size: int) -> None:
    """Add EfficientNet-Lite of `size` 0 to 4."""
    width, depth, pixels = _SCALES[size]
    x = b.conv(b.input((batch, pixels, pixels, 3)), 32, stride=2, activation="relu6")
    for number, (kernel, expansion, filters, count, stride) in enumerate(_STAGES):
        repetitions = count if number in (0, len(_STAGES) - 1) else math.ceil(count * depth)
        for place in range(repetitions):
            x = inverted(
                b, x, divisible(filters * width), expansion=expansion, kernel=kernel,
                stride=1 if place else stride,
            )  # fmt: skip
    classes(b, b.conv(x, 1280, kernel=1, activation="relu6"))
