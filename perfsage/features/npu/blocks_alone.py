"""The blocks of what Ethos-U85 does without sums over channels: depthwise convolutions, poolings, arithmetic.

The former take the part of the image that the accumulators and the inputs' memory hold, in its own
proportion; arithmetic fills the output buffer.
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.blocks import SUM_BYTES
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.search import needed
from perfsage.features.npu.work import SUBKERNEL, Flags, Float64, Work, round_up

MOST = (128, 128, 1024)
GRANULE = 16
"""Channels of accumulators come in multiples of these."""
_SLOTS = 6
"""Parts of the output buffer, each of which holds the inputs of a block of what is enlarged."""
_UNIT_DEPTHS = (16.0, 32.0)


def input_units(geometry: Geometry, micro: Float64, depth: Float64) -> Float64:
    """Return the height, width and channels that inputs come in multiples of, float64[3, n, k].

    `micro` float64[n, 3] are microblocks, `depth` float64[n, k] the channels of a block of inputs.
    """
    table = np.array(geometry.input_units, dtype=np.float64) * (1, 1, GRANULE)
    shapes = np.asarray(geometry.microblocks)
    which = (micro[:, None, :] == shapes).all(axis=2).argmax(axis=1)
    return np.moveaxis(table[which[:, None], np.searchsorted(_UNIT_DEPTHS, depth)], 2, 0)


def streamed(work: Work, geometry: Geometry, micro: Float64) -> Float64:
    """Return blocks that fill the output buffer, float64[3, n]: channels get what rows of the image leave."""
    step_h, step_w = micro[:, 0], micro[:, 1]
    height, width = round_up(work.out_h, step_h), round_up(work.out_w, step_w)
    channels = round_up(work.out_c, GRANULE)
    units = float(geometry.output_bytes // GRANULE)
    high = _tile(height, step_h, np.minimum(height, MOST[0]))
    needs = np.maximum(_tile(width, step_w, np.minimum(units, np.minimum(width, MOST[1]))), step_w)
    times = np.minimum(np.floor(units / needs), np.floor(np.minimum(channels, MOST[2]) / GRANULE))
    times = np.where(times >= 2, times, 1.0)
    filled = np.stack([round_up(high, step_h), round_up(np.floor(units / times), step_w), GRANULE * times])
    return np.where(work.is_enlarged, _rows(work, geometry, step_w), filled)


def _rows(work: Work, geometry: Geometry, step: Float64) -> Float64:
    """Return blocks of what is enlarged, float64[3, n]: parts of a row whose inputs fit into a slot."""
    bricks = geometry.output_bytes // _SLOTS // GRANULE
    wide = np.minimum((bricks - 2) * np.ceil(work.out_w / np.maximum(work.in_w, 1.0)) + 1.0, MOST[1])
    wide = np.where(wide < step, wide, np.floor(wide / step) * step)
    return np.stack([np.ones(len(work)), wide, np.full(len(work), float(GRANULE))])


def _tile(size: Float64, step: Float64, most: Float64) -> Float64:
    """Return the part of a side, at most so much, that divides it most evenly."""
    even = round_up(np.floor(size / (np.floor(size / most) + 1)), step)
    return np.where(size % most == 0, most, np.maximum(even, step))


def areas(work: Work, geometry: Geometry, micro: Float64) -> Float64:
    """Return blocks of depthwise convolutions and poolings, float64[3, n]: as much of the image as fits.

    Where all of it does, they have as many channels as waste least of the inputs' memory.
    """
    high, wide = round_up(work.out_h, micro[:, 0]), round_up(work.out_w, micro[:, 1])
    channels = round_up(np.minimum(work.out_c, MOST[2]), GRANULE)[:, None]
    depths = GRANULE * np.arange(1.0, channels.max() / GRANULE + 1)
    units = input_units(geometry, micro, np.broadcast_to(depths, (len(work), len(depths))))
    fits = _fits(work, geometry, high, wide, depths, units) & (depths <= channels)
    wasted = 1.0 + (units[2] - 1 - (depths - 1) % units[2]) / units[2] / 10
    # Where there is no window, rows of all channels count.
    single = ((work.span_h == 1) & (work.span_w == 1))[:, None]
    covered = np.where(single, 1.0 + abs(1.0 - channels / depths), 1.0)
    cost = np.where(fits, covered * wasted * (1.0 + (channels / depths - 1.0) / 10), np.inf)
    part_h, part_w = _area(work, geometry, micro)
    whole = fits.any(axis=1)
    depth = np.where(whole, depths[cost.argmin(axis=1)], GRANULE)
    part_h, part_w = np.where(whole, high, part_h), np.where(whole, wide, part_w)
    rest = np.flatnonzero(single[:, 0] & (~whole | (depth < channels[:, 0])))
    if len(rest):
        those = depths <= channels[rest]
        part_h[rest], part_w[rest], depth[rest] = _columns(
            work.those(rest), geometry, micro[rest], depths, units[:, rest], those
        )
    return np.stack([part_h, part_w, depth])


def _fits(
    work: Work, geometry: Geometry, high: Float64, wide: Float64, depths: Float64, units: Float64
) -> Flags:
    """Return whether whole images of so many channels fit, bool[n, k]."""
    rows = round_up(needed(high, work.stride_h, work.span_h)[:, None], units[0])
    columns = round_up(needed(wide, work.stride_w, work.span_w)[:, None], units[1])
    sides = (work.in_h, work.in_w, work.in_c)
    all_h, all_w, all_c = (round_up(s[:, None], unit) for s, unit in zip(sides, units, strict=True))
    read = np.minimum(rows * columns * round_up(depths, units[2]), all_h * all_w * all_c)
    small = (high <= MOST[0]) & (wide <= MOST[1])
    sums = (high * wide)[:, None] * depths * SUM_BYTES
    return np.asarray((read <= geometry.input_bytes) & (sums <= geometry.sum_bytes) & small[:, None])


def _area(work: Work, geometry: Geometry, micro: Float64) -> tuple[Float64, Float64]:
    """Return height and width of the outputs of 16 channels that fit the accumulators and the inputs."""
    sums = geometry.sum_bytes / (GRANULE * SUM_BYTES)
    area = np.minimum(sums, work.out_h * work.out_w)
    shape = np.sqrt(work.out_h / work.out_w)
    for _ in range(3):
        high = np.maximum(np.sqrt(area) * shape, 1.0)
        wide = np.maximum(area / high, 1.0)
        rows = (high - 1) * work.stride_h + np.minimum(work.span_h, SUBKERNEL)
        columns = (wide - 1) * work.stride_w + np.minimum(work.span_w, SUBKERNEL)
        area = area * np.minimum(geometry.input_bytes / (GRANULE * rows * columns), 1.0)
    whole_h, whole_w = round_up(work.out_h, micro[:, 0]), round_up(work.out_w, micro[:, 1])
    fits = (area >= work.out_h * work.out_w) & (whole_h * whole_w <= sums)
    high = np.clip(np.floor(high / micro[:, 0]) * micro[:, 0], micro[:, 0], whole_h)
    wide = np.clip(np.floor(wide / micro[:, 1]) * micro[:, 1], micro[:, 1], whole_w)
    return np.where(fits, whole_h, high), np.where(fits, whole_w, wide)


def _columns(
    work: Work, geometry: Geometry, micro: Float64, depths: Float64, units: Float64, allowed: Flags
) -> Float64:
    """Return blocks without a window on a part of the image, float64[3, n]: wide and with many channels.

    `depths` float64[k] are tried where `allowed` bool[n, k] says so; `units` are those of inputs for each.
    """
    step_h, step_w = micro[:, :1], micro[:, 1:2]
    all_h, all_w = round_up(work.out_h[:, None], step_h), round_up(work.out_w[:, None], step_w)
    stored = round_up(np.broadcast_to(depths, units[2].shape), units[2])
    area = np.minimum(geometry.sum_bytes / SUM_BYTES / depths, geometry.input_bytes / stored)
    side = np.maximum(np.sqrt(area * all_w / all_h), 1.0)
    wide = np.minimum(np.maximum(np.floor(side / step_w), 1.0) * step_w, np.minimum(all_w, MOST[1]))
    high = np.minimum(np.maximum(np.floor(area / wide / step_h), 1.0) * step_h, np.minimum(all_h, MOST[0]))
    wasted = 1.0 + (stored - depths) / units[2] / 10
    most = np.where(allowed, depths, 0.0).max(axis=1, keepdims=True)
    covered = 1.0 + abs(1.0 - all_w * most / (wide * depths))
    cost = covered * (1.0 + abs(1.0 - most / depths) / 10) * wasted
    best = np.where(allowed & (high * wide * depths <= geometry.sum_bytes / SUM_BYTES), cost, np.inf)
    rows = np.arange(len(work)), best.argmin(axis=1)
    # One more row of inputs has to fit.
    room = np.floor(geometry.input_bytes / (wide * stored) / step_h)[rows] - 1.0
    high = np.minimum(high[rows], np.maximum(room, 1.0) * step_h[:, 0])
    return np.stack([high, wide[rows], depths[rows[1]]])
