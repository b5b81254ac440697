"""Zeros that fill up an NPU's streams of weights, and how many of them come one after the other.

Kernels that come first are filled up to four elements, or five on U85, each of them for eight channels of
inputs, or 16; otherwise blocks of input channels are filled up at the end of each element (Vela 5,
`EthosU55WeightOrdering` and `EthosU85WeightOrdering`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perfsage.features.coding_zeros import Clumps
from perfsage.features.npu.formats import BRICK
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85
from perfsage.features.npu.streams import STREAMS, padded_kernel
from perfsage.features.npu.work import CONVOLUTION, SPARSE_DEPTH, Flags, Float64, Work, round_up

_U85 = np.array(IS_U85, dtype=np.bool_)
_OLD_DEPTH = np.array([g.microblocks[0][2] for g in GEOMETRIES if g.generation != 85], dtype=np.float64)
"""Channels of the microblocks of U55 and U65."""
_AT_ONCE = 8.0
"""Input channels that come for some outputs before those of other outputs do."""
_SPARSE_AT_ONCE = 16.0
"""The same on U85 where half of the weights are skipped."""
_FOUR, _FIVE = 4.0, 5.0


def clumps_of(work: Work, elements: Float64, micro: Float64) -> Clumps:
    """Return how zeros come in streams of so many `elements` [n, d] together; `micro` [n, d] are U85's."""
    share, length, gap = np.zeros(elements.shape), np.ones(elements.shape), np.zeros(elements.shape)
    weights = work.in_c[:, None]
    rows = np.flatnonzero((work.kind == CONVOLUTION) & (elements > 0).any(axis=1))
    if not len(rows):
        return Clumps(share, length, gap, weights)
    sparse = np.where(work.sparse[rows, None] & _U85, _SPARSE_AT_ONCE, _AT_ONCE)
    gap[rows] = -weights[rows] % sparse
    some, elements = work.take(rows), elements[rows]
    depth = np.maximum(micro[rows][:, _U85], 1.0)
    cores, streams = STREAMS[~_U85], STREAMS[_U85]
    outputs = round_up(np.ceil(some.out_c[:, None] / cores), _OLD_DEPTH) * cores
    five = np.where(some.sparse & (some.in_c <= SPARSE_DEPTH), 2.0 * _FIVE, _FIVE)
    old = _Order(some.kernel_first_u55, _FOUR, _AT_ONCE, outputs, outputs / _OLD_DEPTH)
    outputs = round_up(some.out_c[:, None], depth)
    new = _Order(some.kernel_first_u85, five, BRICK, outputs, outputs / depth * streams)
    for place, order in ((~_U85, old), (_U85, new)):
        found = _clumps(some, elements[:, place], order)
        share[np.ix_(rows, place)], length[np.ix_(rows, place)] = found
    return Clumps(share, length, gap, weights)


class _Order(NamedTuple):
    """Whether kernels come `first` bool[n], and are filled up to a multiple for `inputs` channels each.

    There are so many `outputs` [n, d], in `turns` [n, d] of all streams together.
    """

    first: Flags
    filled: Float64 | float
    inputs: float
    outputs: Float64
    turns: Float64


def _clumps(work: Work, elements: Float64, order: _Order) -> tuple[Float64, Float64]:
    """Return the share of zeros that come together, and how many do, float64[n, accelerators]."""
    kernel = (work.kernel_h * work.kernel_w)[:, None]
    padded, parts = padded_kernel(work, np.where(order.first, order.filled, 1.0))
    inputs = elements / (padded * work.groups)[:, None] / order.outputs
    beyond = np.maximum(inputs - round_up(work.in_c, _AT_ONCE)[:, None], 0.0)
    zeros = ((padded[:, None] - kernel) * inputs + kernel * beyond) * order.outputs
    total = padded[:, None] * inputs * order.outputs - kernel * (work.in_c * work.out_c)[:, None]
    runs = parts[:, None] * inputs / order.inputs + np.where(beyond > 0, kernel, 0.0)
    share = np.clip(zeros / np.maximum(total, 1.0), 0.0, 1.0)
    return share, zeros / np.maximum(runs * order.turns, 1.0)
