"""Inception V1 (GoogLeNet, arXiv 1409.4842) and V3 (1512.00567)."""

from __future__ import annotations

from functools import partial

from dataset.builder import Builder, Tensor
from dataset.zoo.parts import classes

_V1 = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None,
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), None,
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip
"""Filters of 1x1; reduction and 3x3; reduction and 5x5; after the pool. None halves the image."""


def v1(b: Builder, batch: int) -> None:
    """Add Inception V1 over 224 x 224 pixels, without the heads that only training needs."""
    conv = partial(b.conv, activation="relu")
    x = _half(b, conv(b.input((batch, 224, 224, 3)), 64, kernel=7, stride=2))
    x = _half(b, conv(conv(x, 64, kernel=1), 192))
    for block in _V1:
        x = _half(b, x) if block is None else _v1_block(b, x, *block)
    classes(b, x)


def _half(b: Builder, x: Tensor) -> Tensor:
    return b.max_pool(x, kernel=3, stride=2, padding="same")


def _v1_block(
    b: Builder, x: Tensor, one: int, in3: int, three: int, in5: int, five: int, pool: int
) -> Tensor:
    conv = partial(b.conv, activation="relu")
    pooled = b.max_pool(x, kernel=3, stride=1, padding="same")
    sides = [
        conv(x, one, kernel=1),
        conv(conv(x, in3, kernel=1), three),
        conv(conv(x, in5, kernel=1), five, kernel=5),
        conv(pooled, pool, kernel=1),
    ]
    return b.concat(sides)


def v3(b: Builder, batch: int) -> None:
    """Add Inception V3 over 299 x 299 pixels, without the head that only training needs."""
    conv = partial(b.conv, activation="relu")
    x = conv(b.input((batch, 299, 299, 3)), 32, stride=2, padding="valid")
    x = conv(conv(x, 32, padding="valid"), 64)
    x = conv(conv(b.max_pool(x, kernel=3), 80, kernel=1), 192, padding="valid")
    x = b.max_pool(x, kernel=3)
    for filters in (32, 64, 64):
        x = _chains(b, x, [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]], filters)
    x = _smaller(b, x, [[(384, 3)], [(64, 1), (96, 3), (96, 3)]])
    for filters in (128, 160, 160, 192):
        x = _chains(b, x, _sevens(filters), 192)
    x = _smaller(b, x, [[(192, 1), (320, 3)], [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)]])
    classes(b, _wide(b, _wide(b, x)))


Kernel = int | tuple[int, int]
Chain = list[tuple[int, Kernel]]
"""Filters and kernel of convolutions that follow each other."""


def _sevens(filters: int) -> list[Chain]:
    across, down = (1, 7), (7, 1)
    short: Chain = [(filters, 1), (filters, across), (192, down)]
    long: Chain = [(filters, 1), (filters, down), (filters, across), (filters, down), (192, across)]
    return [[(192, 1)], short, long]


def _chain(b: Builder, x: Tensor, chain: Chain) -> Tensor:
    for filters, kernel in chain:
        x = b.conv(x, filters, kernel=kernel, activation="relu")
    return x


def _pooled(b: Builder, x: Tensor, filters: int) -> Tensor:
    return _chain(b, b.average_pool(x, kernel=3, stride=1, padding="same"), [(filters, 1)])


def _chains(b: Builder, x: Tensor, chains: list[Chain], pool: int) -> Tensor:
    return b.concat([*(_chain(b, x, chain) for chain in chains), _pooled(b, x, pool)])


def _smaller(b: Builder, x: Tensor, chains: list[Chain]) -> Tensor:
    """Halve the image: the last convolution of each chain strides, beside a pool."""
    sides = []
    for chain in chains:
        filters, kernel = chain[-1]
        y = _chain(b, x, chain[:-1])
        sides.append(b.conv(y, filters, kernel=kernel, stride=2, padding="valid", activation="relu"))
    return b.concat([*sides, b.max_pool(x, kernel=3)])


def _wide(b: Builder, x: Tensor) -> Tensor:
    def both(y: Tensor) -> list[Tensor]:
        return [_chain(b, y, [(384, (1, 3))]), _chain(b, y, [(384, (3, 1))])]

    sides = both(_chain(b, x, [(384, 1)])) + both(_chain(b, x, [(448, 1), (384, 3)]))
    return b.concat([_chain(b, x, [(320, 1)]), *sides, _pooled(b, x, 192)])
