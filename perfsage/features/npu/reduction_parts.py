"""What an NPU does for a reduction, one thing after the other, as Vela 5 has it (`graphir_optimiser.cpp`).

Each axis is reduced by a pooling as wide as the axis, with what comes before it as rows and what comes after
it as channels; U85 reduces rows as they are. A place comes from values of 16 bits that hold the channel as
well (U55 and U65); a sum is a convolution by ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from perfsage.features.npu.work import CONVOLUTION, DEPTHWISE, ELEMENTWISE, POOLING, TRANSPOSED

Sizes = tuple[float, float, float]
"""Height, width, channels."""
HEIGHT, WIDTH = 1, 2
_TILE, _DEPTH = 64.0, 16.0
_MOST_ROWS, _BLOCK_ROWS = 65536.0, 4.0
"""U55 and U65 pool more rows than that in operators of one block each, which are so high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An operator of an NPU: `old` and `new` say how often U55 and U65, and U85 do it.

    `shorts` is for values of 16 bits on U55 and U65; a value has `near_each` bytes in
    SRAM and `far_each` outside.
    """

    kind: int
    out: Sizes
    into: Sizes
    kernel: tuple[float, float] = (1.0, 1.0)
    output: str = "other"
    old: float = 1.0
    new: float = 1.0
    shorts: bool = False
    near_each: float = 1.0
    far_each: float = 1.0


def parts_of(
    size: list[float], axes: tuple[int, ...], place: bool, summed: bool, least: bool, long: bool
) -> Iterator[Part]:
    """Yield what an NPU does for one operator over `axes` of a tensor of this size [4].

    Places are integers of 64 bits if `long`.
    """
    if place:
        yield from _place(size, axes[-1], long)
    elif summed:
        yield from _sum(size, axes)
    else:
        yield from _largest(size, axes, least)


def _largest(size: list[float], axes: tuple[int, ...], least: bool) -> Iterator[Part]:
    for axis in axes:
        # Columns are reduced where they are, in bricks; else values lie in a row.
        brick = _DEPTH if axis == WIDTH and size[0] == 1 else 1.0
        if least:
            yield _elementwise(_stored(size, brick), new=0.0)
        outer, width, inner = _around(size, axis)
        native = axis == HEIGHT and size[0] == 1
        kernel = (1.0, width)
        yield Part(
            kind=POOLING, out=(outer, 1.0, inner), into=(outer, width, inner), kernel=kernel,
            output="max_pool", new=0.0 if native else 1.0,
        )  # fmt: skip
        if native:
            yield Part(
                kind=POOLING, out=(1.0, size[2], size[3]), into=(width, size[2], size[3]),
                kernel=(width, 1.0), output="max_pool", old=0.0,
            )  # fmt: skip
        size = [1.0 if i == axis else n for i, n in enumerate(size)]
        if least:
            yield _elementwise(_stored(size, brick), new=0.0)


def _stored(size: list[float], brick: float) -> float:
    return math.prod(size[:3]) * math.ceil(size[3] / brick) * brick


def _place(size: list[float], axis: int, long: bool) -> Iterator[Part]:
    outer, width, inner = _around(size, axis)
    count = outer * inner
    image = (size[0] * size[1], size[2], size[3])
    yield Part(kind=DEPTHWISE, out=image, into=image, new=0.0, near_each=1.25)
    pieces = outer > _MOST_ROWS
    yield _pool(outer, width, inner, old=0.0 if pieces else 1.0)
    if pieces:
        yield _pool(_BLOCK_ROWS, width, inner, old=outer // _BLOCK_ROWS, new=0.0)
        yield _pool(outer % _BLOCK_ROWS, width, inner, old=float(outer % _BLOCK_ROWS > 0), new=0.0)
    if count >= _TILE:
        tiles = _tiles(count)
        yield Part(kind=POOLING, out=tiles, into=tiles, new=0.0, shorts=True)
    # Integers of 64 bits are made of twice as many of 32.
    for times in (1.0, 2.0)[: 1 + long]:
        yield _elementwise(times * count, new=0.0, near_each=3.0, far_each=8.0)


def _pool(outer: float, width: float, inner: float, *, old: float, new: float = 1.0) -> Part:
    return Part(
        kind=POOLING, out=(outer, 1.0, inner), into=(outer, width, inner), kernel=(1.0, width),
        output="max_pool", shorts=True, old=old, new=new,
    )  # fmt: skip


def _sum(size: list[float], axes: tuple[int, ...]) -> Iterator[Part]:
    outer, inner = math.prod(size[: axes[0]]), math.prod(size[axes[-1] + 1 :])
    depth = math.prod(size[axes[0] : axes[-1] + 1])
    if inner > 1:
        yield Part(kind=TRANSPOSED, out=(outer, inner, depth), into=(outer, depth, inner))
    height, width = (
        (outer, inner) if inner > 1 else (size[0] * size[1], size[2]) if axes == (3,) else (outer, 1.0)
    )
    yield Part(kind=CONVOLUTION, out=(height, width, 1.0), into=(height, width, depth))
    yield _elementwise(outer * inner, old=0.0, near_each=4.0, far_each=4.0)


def _elementwise(
    count: float, *, old: float = 1.0, new: float = 1.0, near_each: float = 1.0, far_each: float = 1.0
) -> Part:
    tiles = _tiles(count) if count >= _TILE else (1.0, 1.0, count)
    return Part(
        kind=ELEMENTWISE, out=tiles, into=tiles, output="add", old=old, new=new, near_each=near_each,
        far_each=far_each,
    )  # fmt: skip


def _tiles(count: float) -> Sizes:
    """Return so many values as an image of 16 channels."""
    return 4.0, float(math.ceil(count / _TILE)), _DEPTH


def _around(size: list[float], axis: int) -> Sizes:
    return math.prod(size[:axis]), size[axis], math.prod(size[axis + 1 :])
