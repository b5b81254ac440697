"""The blocks of windows on one channel, transposes and sums on U85, as Vela 5 finds them (`AreaFit`).

For each number of channels the largest part of the image that fits into the accumulators and the memory for
inputs, in the image's own proportion; of these the one that leaves least of the outputs for other blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfsage.features.npu.search import needed
from perfsage.features.npu.work import Flags, Float64, round_up

GRANULE = 16.0
"""Channels of accumulators come in multiples of these."""
UNIT_DEPTHS = (16.0, 32.0)
"""Up to so many channels of bytes, inputs are kept in the first or the second of their units."""
_MOST_ROUNDS, _MOST_TILES, _MOST_STEPS = 64, 128, 512
_PATIENCE = 25.0
"""After so many rounds with the same block the next one is forced to be smaller."""


@dataclass(frozen=True, slots=True)
class Areas:
    """What blocks are fitted for: float64[n, 3] are heights, widths and channels.

    `out` and `into` are outputs and inputs, `most` the limits of a block, `step` what it is a multiple of and
    `micro` the microblock; `unit` float64[n, 3, 3] what inputs are kept in, for up to 16, up to 32 bytes and
    for more. `kernel` float64[n, 2] are its height and width, with its dilation, and `stride` float64[n, 2]
    its steps; `sums` and `inputs` float64[n] how many fit, `macs` float64[n] products at once. `deep`
    float64[n] are the channels of a block of inputs, 0 for as many as outputs have.
    """

    out: Float64
    into: Float64
    most: Float64
    step: Float64
    micro: Float64
    unit: Float64
    kernel: Float64
    stride: Float64
    sums: Float64
    inputs: Float64
    macs: Float64
    deep: Float64


@dataclass(frozen=True, slots=True)
class _Search:
    """The same with an axis for the channels that are tried, `depths` float64[d]; float64[n, 1] or [n, d].

    `out` and `most` float64[n, 3] are in multiples of the step, `unit` float64[n, d, 3], `grain` are the sums
    of a microblock, and `deepest` the channels that are tried at most.
    """

    areas: Areas
    depths: Float64
    out: Float64
    most: Float64
    unit: Float64
    channels: Float64
    volume: Float64
    grain: Float64
    deepest: Float64


def fit_areas(areas: Areas) -> Float64:
    """Return height, width and channels of each block, float64[3, n]."""
    out = round_up(areas.out, areas.step)
    most = np.minimum(out, areas.most)
    grain = areas.micro[:, 0] * areas.micro[:, 1] * GRANULE
    deepest = np.minimum(np.maximum(areas.macs, np.floor(areas.sums / grain)), most[:, 2])
    depths = GRANULE * np.arange(1.0, max(deepest.max() // GRANULE, 1.0) + 1)
    own, fixed = areas.unit[:, np.searchsorted(UNIT_DEPTHS, depths)], (areas.deep > 0)[:, None]
    unit = np.where(fixed[..., None], areas.unit[:, 2:3], own)
    channels = round_up(np.where(fixed, areas.deep[:, None], depths), unit[..., 2])
    volume = round_up(areas.into[:, None], unit).prod(axis=2)
    search = _Search(areas, depths, out, most, unit, channels, volume, grain[:, None], deepest[:, None])
    height, width, fits = _largest(search)
    # Nothing deeper is tried after what does not fit.
    fits = np.logical_and.accumulate(fits, axis=1)
    return _leave_room(areas, out, _chosen(search, height, width, fits))


def _chosen(search: _Search, height: Float64, width: Float64, fits: Flags) -> Float64:
    """Return the block that covers most, float64[3, n]; what covers everything ends the search."""
    depths, out, unit = search.depths, search.out, search.unit[..., 2]
    single = (search.areas.kernel == 1).all(axis=1)[:, None]
    left = np.where(depths % unit > 0, depths % unit, unit)
    waste = 1.0 + (unit - left) / unit / 10.0
    close = 1.0 + abs(1.0 - search.most[:, 2:] / depths) / 10.0
    whole = out[:, 1:2] * np.where(single, out[:, 2:], out[:, :1])
    covered = 1.0 + abs(1.0 - whole / (width * np.where(single, depths, height)))
    metric = np.where(fits, covered * close * waste, np.inf)
    best, rows = metric.argmin(axis=1), np.arange(len(out))
    everything = (depths >= out[:, 2:]) & (width >= out[:, 1:2]) & (height >= out[:, :1])
    # Only what is better than all before: of equal ones, the first stays.
    done = everything[rows, best] & np.isfinite(metric[rows, best])
    return np.where(done, out.T, np.stack([height[rows, best], width[rows, best], depths[best]]))


def _largest(search: _Search) -> tuple[Float64, Float64, Flags]:
    """Return the largest heights and widths, and whether they fit, [n, d]: less is tried until they do."""
    areas, shape = search.areas, (len(search.out), len(search.depths))
    budget = np.broadcast_to(areas.sums[:, None], shape).copy()
    before, patience = np.full(shape, -1.0), np.full(shape, _PATIENCE)
    height, width = np.ones(shape), np.ones(shape)
    fits, going = np.zeros(shape, dtype=np.bool_), search.depths <= search.deepest
    for _ in range(_MOST_ROUNDS):
        high, wide = _in_proportion(search, budget, going)
        height, width = np.where(going, high, height), np.where(going, wide, width)
        sums = high * wide * search.depths
        read = (
            _read(areas.kernel[:, :, None], areas.stride[:, :, None], search.unit, high, wide)
            * search.channels
        )
        by_sums = areas.sums[:, None] / sums
        by_inputs = areas.inputs[:, None] / np.minimum(read, search.volume)
        fits |= going & (by_sums >= 1) & (by_inputs >= 1)
        going &= ~fits
        same = going & (sums == before)
        before, patience = sums, patience - same
        by_inputs = np.where(same & (patience <= 0), 0.9, by_inputs)
        budget = _less(search, budget, sums, by_sums, by_inputs)
        going &= budget >= search.grain
        if not going.any():
            break
    return height, width, fits


def _less(search: _Search, budget: Float64, sums: Float64, by_sums: Float64, by_inputs: Float64) -> Float64:
    """Return for how many sums to try next, where there is room for so many times as many sums and inputs."""
    budget = np.where((by_inputs < 1) & (by_sums > 1), np.minimum(budget, sums), budget)
    less = np.floor(np.floor(budget / search.grain) * np.minimum(by_inputs, by_sums)) * search.grain
    return np.where(less == budget, budget - search.grain, less)


def _in_proportion(search: _Search, budget: Float64, going: Flags) -> tuple[Float64, Float64]:
    """Return height and width for so many sums in the image's proportion, [n, d], where it is `going` on."""
    step_h, step_w = search.areas.step[:, :1], search.areas.step[:, 1:2]
    all_h, all_w = search.out[:, :1], search.out[:, 1:2]
    wide = np.sqrt(np.floor(np.maximum(budget, 1.0) / search.depths) / (all_h / all_w))
    high = wide * (all_h / all_w)
    low, thin = high < 1, (high >= 1) & (wide < 1)
    wide, high = (
        np.where(low, wide * high, np.where(thin, 1.0, wide)),
        np.where(low, 1.0, np.where(thin, high * wide, high)),
    )
    wide = np.minimum(np.floor(np.maximum(np.floor(wide), step_w) / step_w) * step_w, search.most[:, 1:2])
    high = np.minimum(np.floor(np.maximum(np.floor(high), step_h) / step_h) * step_h, search.most[:, :1])
    area = high * wide
    row, column = np.nonzero(going & (wide < all_w))
    wide[row, column] = _tile(all_w[row, 0], step_w[row, 0], wide[row, column])
    return np.maximum(np.floor(np.floor(area / wide) / step_h) * step_h, step_h), wide


def _read(kernel: Float64, stride: Float64, unit: Float64, height: Float64, width: Float64) -> Float64:
    """Return how many inputs of a channel such blocks need."""
    sides = enumerate((height, width))
    rows, columns = (needed(size, stride[:, axis], kernel[:, axis]) for axis, size in sides)
    return np.asarray(round_up(rows, unit[..., 0]) * round_up(columns, unit[..., 1]))


def _tile(size: Float64, step: Float64, tile: Float64) -> Float64:
    """Return the width of at most `tile` whose last block is largest, float64[k] all of them."""
    even = np.maximum(round_up(np.floor(size / (np.floor(size / tile) + 1)), step), step)
    first = np.maximum(np.maximum(even - 2 * step, np.floor((even + 1) / 2)), step)
    best, rest = tile.copy(), size % tile
    places, tried = np.flatnonzero(rest > 0), tile
    for _ in range(_MOST_TILES):
        tried = tried - step
        places = places[tried[places] >= first[places]]
        if not len(places):
            break
        left = size[places] % tried[places]
        left = np.where(left == 0, tried[places], left)
        better = left > rest[places]
        best[places[better]], rest[places[better]] = tried[places[better]], left[better]
    return best


def _is_tight(areas: Areas, out: Float64, height: Float64, width: Float64, depth: Float64) -> Flags:
    """Return where another row of inputs does not fit beside a block that is not all there is."""
    which = np.where(areas.deep > 0, 2, np.searchsorted(UNIT_DEPTHS, depth))
    unit = areas.unit[np.arange(len(out)), which]
    channels = round_up(np.where(areas.deep > 0, areas.deep, depth), unit[:, 2])
    need = _read(areas.kernel, areas.stride, unit, height, width) * channels
    row = _read(areas.kernel, areas.stride, unit, areas.step[:, 0], width) * channels
    some = (height < out[:, 0]) | (width < out[:, 1]) | (depth < out[:, 2])
    return np.asarray(some & (areas.inputs - need < row))


def _leave_room(areas: Areas, out: Float64, chosen: Float64) -> Float64:
    """Make blocks smaller until another row of inputs fits beside them."""
    height, width, depth = chosen
    step_h, step_w = areas.step[:, 0], areas.step[:, 1]
    force = np.zeros(len(out), dtype=np.int64)
    for _ in range(_MOST_STEPS):
        tight = _is_tight(areas, out, height, width, depth)
        if not tight.any():
            break
        lower = tight & ((height != out[:, 0]) | (force & 2 > 0)) & (height > step_h)
        rest = tight & ~lower
        flat = rest & ((depth > width) | (force & 1 > 0)) & (depth > GRANULE)
        rest &= ~flat
        thin = rest & ((width != out[:, 1]) | (force & 4 > 0)) & (width > step_w)
        rest &= ~thin
        forced = rest & (force != 7)
        half = rest & ~forced
        height = np.where(lower, height - step_h, height)
        depth = np.where(flat, depth - GRANULE, depth)
        width = np.where(thin, width - step_w, width)
        force = np.where(forced, (force << 1) | 1, force)
        depth = np.where(half, np.maximum(np.floor(depth / 2), GRANULE), depth)
    return np.stack([height, width, depth])
