"""NASNet-A Mobile (arXiv 1707.07012): twelve normal cells of 44, 88 and 176 filters."""

from __future__ import annotations

from dataset.builder import Builder, Tensor
from dataset.zoo.parts import classes

Pair = tuple[Tensor, Tensor]
"""The output of a cell, and that of the cell before it."""


def nasnet_mobile(b: Builder, batch: int) -> None:
    """Add NASNet-A Mobile over 224 x 224 pixels."""
    x = b.conv(b.input((batch, 224, 224, 3)), 32, stride=2, padding="valid")
    pair = _reduction(b, _reduction(b, (x, x), 11), 22)
    for filters in (44, 88, 176):
        if filters > 44:
            pair = _reduction(b, pair, filters)
        for _ in range(4):
            pair = _normal(b, pair, filters)
    classes(b, b.relu(pair[0]))


def _normal(b: Builder, pair: Pair, filters: int) -> Pair:
    before, h = _inputs(b, pair, filters)
    parts = [
        before,
        b.add(_separable(b, h, filters, 5), _separable(b, before, filters, 3)),
        b.add(_separable(b, before, filters, 5), _separable(b, before, filters, 3)),
        b.add(_mean(b, h), before),
        b.add(_mean(b, before), _mean(b, before)),
        b.add(_separable(b, h, filters, 3), h),
    ]
    return b.concat(parts), pair[0]


def _reduction(b: Builder, pair: Pair, filters: int) -> Pair:
    before, h = _inputs(b, pair, filters)
    first = b.add(_separable(b, h, filters, 5, 2), _separable(b, before, filters, 7, 2))
    second = b.add(_largest(b, h), _separable(b, before, filters, 7, 2))
    mean = b.average_pool(h, kernel=3, stride=2, padding="same")
    parts = [
        second,
        b.add(mean, _separable(b, before, filters, 5, 2)),
        b.add(second, _mean(b, first)),
        b.add(_separable(b, first, filters, 3), _largest(b, h)),
    ]
    return b.concat(parts), pair[0]


def _inputs(b: Builder, pair: Pair, filters: int) -> Pair:
    """Bring both inputs of a cell to its filters, and the older one to the size of the newer."""
    x, before = pair
    if before is not x:
        before = _fitted(b, before, x, filters)
    return before, b.conv(b.relu(x), filters, kernel=1)


def _fitted(b: Builder, before: Tensor, x: Tensor, filters: int) -> Tensor:
    if before.shape[1] == x.shape[1]:
        return before if before.shape[-1] == filters else b.conv(b.relu(before), filters, kernel=1)
    y = b.relu(before)
    batch, height, width, channels = y.shape
    shifted = b.pad(y, ((0, 0), (0, 1), (0, 1), (0, 0)))
    shifted = b.strided_slice(shifted, (0, 1, 1, 0), (batch, height + 1, width + 1, channels))
    halves = (b.average_pool(side, kernel=1, stride=2) for side in (y, shifted))
    return b.concat([b.conv(half, filters // 2, kernel=1) for half in halves])


def _separable(b: Builder, x: Tensor, filters: int, kernel: int, stride: int = 1) -> Tensor:
    y = b.conv(b.depthwise(b.relu(x), kernel=kernel, stride=stride), filters, kernel=1, activation="relu")
    return b.conv(b.depthwise(y, kernel=kernel), filters, kernel=1)


def _mean(b: Builder, x: Tensor) -> Tensor:
    return b.average_pool(x, kernel=3, stride=1, padding="same")


def _largest(b: Builder, x: Tensor) -> Tensor:
    return b.max_pool(x, kernel=3, stride=2, padding="same")
