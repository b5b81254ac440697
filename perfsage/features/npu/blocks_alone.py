"""The blocks of what Ethos-U85 does element by element, and the units that inputs come in.

Such blocks fill its output buffer.
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.work import Float64, Work, round_up

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
