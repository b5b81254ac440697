"""The search for the block of outputs that fetches least, as Vela does it: every height, width and depth.

What costs equally much is decided by the last bit, so that costs are summed in 32 bits and in Vela's order
(`ArchEthosU55::FindBlockConfig` and the same of U85), here for many operators at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import (
    CONVOLUTION,
    DEPTHWISE,
    SUBKERNEL,
    Flags,
    Float64,
    Work,
    ceil_div,
    round_up,
)

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
SPLIT_DEPTH = 16
SMALL = 4
"""Among blocks that cost the same, one of at most 4 by 4 that covers most of the inputs is preferred."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is tried: multiples of the microblock up to `most` height, width and channels.

    `elements` are how many outputs fit into the buffer at most, with channels as multiples of `granule`.
    """

    micro: tuple[int, int, int]
    most: tuple[int, int, int]
    elements: int
    granule: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """Blocks to try, in Vela's order: each of k has one of p areas and one of d numbers of channels.

    `height` and `width` float64[p] are the sides of areas, `depth` float64[n, d] the channels; `area` and
    `deep` int64[k] say which ones a block has. `exists` bool[n, k] is false where an operator has no such
    block.
    """

    height: Float64
    width: Float64
    depth: Float64
    area: Int64
    deep: Int64
    exists: Flags

    def by_area(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values [n, p] of areas for each block, [n, k]."""
        return values.take(self.area, axis=1)

    def by_depth(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values [n, d] of numbers of channels for each block, [n, k]."""
        return values.take(self.deep, axis=1)

    def apart(self) -> Candidates:
        """Return the same with an area of its own for each block, where areas depend on channels."""
        own = np.arange(len(self.area))
        sides = self.height[self.area], self.width[self.area]
        return Candidates(*sides, self.depth, own, self.deep, self.exists)

    def of(self, rows: Int64) -> Candidates:
        """Return the same for some of the operators."""
        return replace(self, depth=self.depth[rows], exists=self.exists[rows])

    def chosen(self, places: Int64) -> tuple[Float64, Float64, Float64]:
        """Return height, width and channels of each operator's choice."""
        area, rows = self.area[places], np.arange(len(places))
        return self.height[area], self.width[area], self.depth[rows, self.deep[places]]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What blocks read: `height` and `width` float64[n, p] of each area.

    `depth` float64[n, d] are the channels; `apart` float64[n] says how far inputs are apart, with zeros in
    between that are not read.
    """

    height: Float64
    width: Float64
    depth: Float64
    apart: Float64

    @property
    def area(self) -> Float64:
        """Inputs of one channel."""
        return self.height * self.width


def candidates(work: Work, space: Space) -> Candidates:
    """Return what is tried for any of the operators."""
    sides = [
        round_up(np.minimum(out, most), micro)
        for out, most, micro in zip(
            (work.out_h, work.out_w, work.out_c), space.most, space.micro, strict=True
        )
    ]
    depths, deep = _depths(sides[2], space.micro[2])
    height, width, area, index = _grid(space)
    largest = space.elements / round_up(depths.min(axis=0), space.granule)
    size = _least_height(height) * width
    some = (height <= sides[0].max()) & (width <= sides[1].max()) & (size <= largest[0])
    tried = some[area] & (index < len(largest))
    area, index = area[tried], index[tried]
    fits = size[area] <= largest[index]
    area, index = (np.cumsum(some) - 1)[area[fits]], index[fits]
    height, width = height[some], width[some]
    within = (height <= sides[0][:, None]) & (width <= sides[1][:, None])
    exists = deep.take(index, axis=1) & within.take(area, axis=1)
    if not (some := exists.any(axis=0)).all():
        area, index, exists = area[some], index[some], exists[:, some]
    return Candidates(height, width, depths, area, index, exists)


def _depths(deepest: Float64, micro: int) -> tuple[Float64, Flags]:
    """Return the channels that are tried, float64[n, d], ascending, and whether they are."""
    step = max(SPLIT_DEPTH, micro)
    steps = step * np.arange(1.0, np.ceil(deepest.max() / step) + 1)
    last = deepest[:, None]
    # Past the last whole step, only one microblock more is tried.
    rest = (last < SPLIT_DEPTH) | (last - (steps - step) == micro)
    return np.minimum(steps, last), (steps <= last) | ((steps - step < last) & rest)


@lru_cache(maxsize=64)
def _grid(space: Space) -> tuple[Float64, Float64, Int64, Int64]:
    """Return heights and widths of areas that fit at all, then each block's area and position of channels."""
    heights = np.arange(space.micro[0], space.most[0] + 1, space.micro[0], dtype=np.float64)
    widths = np.arange(space.micro[1], space.most[1] + 1, space.micro[1], dtype=np.float64)
    step = max(SPLIT_DEPTH, space.micro[2])
    shallowest = step * np.arange(np.ceil(space.most[2] / step), dtype=np.float64) + space.micro[2]
    largest = space.elements / round_up(shallowest, space.granule)
    row, column = np.nonzero(_least_height(heights)[:, None] * widths <= largest[0])
    height, width = heights[row], widths[column]
    index, area = np.nonzero(_least_height(height) * width <= largest[:, None])
    return height, width, area, index


def _least_height(height: Float64) -> Float64:
    """Return as how many rows blocks count at least: two may stand for a single one."""
    return np.where(height == 2, 1.0, height)


def needed(size: Float64, stride: Float64, span: Float64) -> Float64:
    """Return how many inputs in a row or column so many outputs need, zeros in between included."""
    return np.asarray((size - 1) * stride + np.minimum(span, SUBKERNEL))


@np.errstate(over="ignore")
def fetched(
    work: Work, tried: Candidates, area: Float64, equal_depth: Flags, low: Float64, *, u85: bool = False
) -> Float32:
    """Return what is fetched for an output, float32[n, k].

    `area` float64[n, p] are inputs of a channel, `equal_depth` bool[n] are operators whose outputs need their
    own channel alone, `low` float64[n or 1, p] are heights as they count. U85 rounds in another order. What a
    damaged file makes too large for 32 bits is infinite.
    """
    depth = tried.depth.astype(np.float32)
    out_h, out_w, out_c = (getattr(work, f"out_{a}").astype(np.float32)[:, None] for a in "hwc")
    over_h, over_w = out_h / low.astype(np.float32), out_w / tried.width.astype(np.float32)
    over_c = out_c / depth
    weighted = (work.kind == CONVOLUTION) | (work.kind == DEPTHWISE)
    kernel = np.where(weighted, work.kernel_h * work.kernel_w, 0.0) * work.in_c
    weights = (kernel[:, None] * np.ceil(over_h) * np.ceil(over_w)).astype(np.float32)
    repeats = ceil_div(work.span_h, SUBKERNEL) * ceil_div(work.span_w, SUBKERNEL)
    read = (area * (work.in_c * repeats)[:, None]).astype(np.float32)
    read = read * (over_h * over_w) if u85 else read * over_w * over_h
    cost = tried.by_area(read)
    cost *= tried.by_depth(np.where(equal_depth[:, None], np.float32(1), np.ceil(over_c)))
    if weighted.any():
        more = tried.by_area(weights)
        more *= tried.by_depth(np.where((work.kind == DEPTHWISE)[:, None], np.float32(1), over_c * depth))
        cost += more
    cost /= out_h * out_w * out_c
    return cost


def volume(work: Work, tried: Candidates) -> Float32:
    """Return how many blocks there would be, float32[n, k], as a cost."""
    outputs = (work.out_h * work.out_w * work.out_c).astype(np.float32)[:, None]
    size = (tried.height * tried.width).astype(np.float32)[tried.area]
    return np.asarray(outputs / (size * tried.by_depth(tried.depth.astype(np.float32))))


def cheapest(
    work: Work, tried: Candidates, inputs: Inputs, cost: Float32, fits: Flags, any_size: Flags
) -> Int64:
    """Return the position of each operator's block, int64[n]; the first where nothing fits.

    `cost` is overwritten. Among blocks that cost the same, small ones are compared by what they cover (of
    `any_size` bool[n], all).
    """
    in_h, in_w = (np.ceil(side / inputs.apart)[:, None] for side in (work.in_h, work.in_w))
    read = tried.by_area(inputs.area * 2)
    read *= tried.by_depth(np.broadcast_to(inputs.depth, tried.depth.shape))
    np.multiply(cost, np.float32(0.5), out=cost, where=in_h * in_w * work.in_c[:, None] < read)
    np.copyto(cost, np.float32(np.inf), where=~(fits & tried.exists))
    chosen = cost.argmin(axis=1)
    best = cost[np.arange(len(cost)), chosen]
    small = ((tried.height <= SMALL) & (tried.width <= SMALL))[tried.area]
    places = np.arange(len(small)) if any_size.any() else np.flatnonzero(small)
    equal = (cost[:, places] == best[:, None]) & (small[places] | any_size[:, None])
    equal &= (places > chosen[:, None]) & np.isfinite(best)[:, None]
    rows = np.flatnonzero(equal.any(axis=1))
    if len(rows):
        sides, some = (inputs.height, inputs.width), np.ix_(rows, tried.area[places])
        high, wide = (
            np.minimum(image[rows], read[some]) for image, read in zip((in_h, in_w), sides, strict=True)
        )
        covered = np.where(equal[rows], high * wide, 0.0)
        chosen[rows] = places[len(places) - 1 - covered[:, ::-1].argmax(axis=1)]
    return np.asarray(chosen)
