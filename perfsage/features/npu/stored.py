"""What an NPU's compiler stores for each operator beside its coded weights: scales, and what slices add.

Each slice of channels is coded on its own, in as many streams as there are cores, with a head and a palette
of its own; scales and biases come for whole microblocks on U85, and for each stream on U55 and U65 (Vela 5,
`TryEncodeWeightAndScaleTensor`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding import coded_bytes, piece_bytes, uniform_bytes
from perfsage.features.coding_zeros import Padding
from perfsage.features.npu.clumps import clumps_of
from perfsage.features.npu.constants import ALIGNMENT
from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.geometry import IS_U85
from perfsage.features.npu.once import store_shared_once
from perfsage.features.npu.prefetch import Prefetch
from perfsage.features.npu.stored_parts import (
    pieces,
    store_far_strides,
    store_means_once,
    store_phases,
    store_vacant_sections,
    transposed_parts,
)
from perfsage.features.npu.streams import (
    MICRO_DEPTH,
    SCALES_AT_ONCE,
    STREAMS,
    fuller_streams,
    idle_streams,
    pads_at_end,
    used_streams,
)
from perfsage.features.npu.work import Float64, Work, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_U85 = np.array(IS_U85, dtype=np.bool_)


def coded_weights(
    work: Work, weights: Float64, elements: Float64, micro: Float64, statistics: NDArray[np.float32]
) -> Float64:
    """Return the bytes of so many coded `weights` [n], with padding `elements` [n, d], float64[n, d].

    `micro` float64[n, d] are the channels of U85's microblocks. Each part of a transposed convolution on U85
    has its weights and its scales.
    """
    streams, idle = used_streams(work.out_c), idle_streams(work.out_c)
    parts = transposed_parts(work)
    elements = elements * streams / STREAMS
    padding = Padding(pads_at_end(work, micro), clumps_of(work, elements, micro), _U85)
    weights = weights[:, None] / parts
    coded = coded_bytes(weights, elements, streams, idle, statistics, padding)
    _code_unlike_streams(coded, work, weights, elements, statistics, padding)
    coded *= parts
    return np.asarray(coded + (parts - 1.0) * SCALE_BYTES * work.out_c[:, None])


def _code_unlike_streams(
    coded: Float64,
    work: Work,
    weights: Float64,
    elements: Float64,
    statistics: NDArray[np.float32],
    padding: Padding,
) -> None:
    """Code on their own those of U85's streams that have channels where others have padding.

    `coded` float64[n, d], which is changed in place, is for streams that all have as much of it.
    """
    fuller, share = fuller_streams(work.out_c)
    rows = np.flatnonzero((fuller > 0).any(axis=1) & (weights.max(axis=1) > 0))
    if not len(rows):
        return
    fuller, share, weights, elements = fuller[rows], share[rows], weights[rows], elements[rows]
    padding, found = padding.take(rows, coded.shape), statistics[rows]
    made = np.zeros(fuller.shape)
    for count, part in ((fuller, share), (STREAMS - fuller, 1.0 - share)):
        streams = np.maximum(count, 1.0)
        made += coded_bytes(weights * part, elements * streams / STREAMS, streams, made * 0.0, found, padding)
    coded[rows] = np.where(fuller > 0, made, coded[rows])


def stored_bytes(
    subgraph: Subgraph,
    operands: Operands,
    work: Work,
    cost: dict[str, Float64],
    coded: Float64,
    fetch: Prefetch,
    statistics: NDArray[np.float32],
) -> Float64:
    """Return the bytes of weights and scales, float64[n, d].

    `coded` float64[n, d] are `coded_weights`, as without slices.
    """
    scales = scale_bytes(work, cost["micro"])
    made = coded - SCALE_BYTES * (transposed_parts(work) - 1.0) * work.out_c[:, None]
    all_scales = scales * fetch.scales * pieces(operands, work)
    made += all_scales
    made += piece_bytes(statistics) * (fetch.slices - 1.0) * STREAMS
    made = np.where(coded > 0, made, 0.0)
    _fill_slices(made, operands, work, cost, coded, fetch, statistics)
    store_far_strides(made, operands, work, cost, scales, statistics)
    store_vacant_sections(made, operands, work, cost)
    store_phases(made, subgraph, operands, work, scales)
    store_means_once(made, subgraph, operands, work, fetch.slices)
    store_shared_once(made, subgraph, operands, all_scales)
    return made


def scale_bytes(work: Work, micro: Float64) -> Float64:
    """Return the bytes of scales and biases, float64[n, d]; `micro` [n, d] are U85's microblocks."""
    channels = work.out_c[:, None]
    each = round_up(SCALE_BYTES * np.ceil(channels / STREAMS), ALIGNMENT) * used_streams(work.out_c)
    return np.where(_U85, whole_scales(work.out_c, micro), each)


def whole_scales(channels: Float64, micro: Float64) -> Float64:
    """Return the bytes of scales for whole microblocks of U85, float64[n, d], for so many `channels` [n]."""
    granule = round_up(np.maximum(micro, 1.0), SCALES_AT_ONCE)
    return SCALE_BYTES * round_up(channels[:, None], granule)


def _fill_slices(
    made: Float64,
    operands: Operands,
    work: Work,
    cost: dict[str, Float64],
    coded: Float64,
    fetch: Prefetch,
    statistics: NDArray[np.float32],
) -> None:
    """Code slices that fill up microblocks one by one: they have other padding than all channels at once."""
    uneven = (fetch.slices > 1.0) & (fetch.lengths[0] > 1.0) & (coded > 0)
    uneven &= (fetch.scales > 1.0) | ~_U85
    if not uneven.any():
        return
    rows, places = np.nonzero(uneven)
    channels, slices = work.out_c[rows], fetch.slices[rows, places]
    first, following = np.minimum(fetch.lengths[:, rows, places], channels)
    count = np.floor((channels - first) / following)
    last = channels - first - count * following
    pieces_more = (slices - 1.0) * STREAMS[places] * piece_bytes(statistics[rows])[:, 0]
    made[rows, places] -= coded[rows, places] + pieces_more
    # The first, each of the next ones and the last slice of all of them, one after the other.
    deep, thrice = np.concatenate([first, following, last]), np.tile(rows, 3)
    each = _coded_slices(operands, work, cost, statistics, thrice, deep)[
        np.arange(len(thrice)), np.tile(places, 3)
    ]
    each = np.where(deep > 0, each, 0.0).reshape(3, -1)
    for bytes_, often in zip(each, (1.0, count, 1.0), strict=True):
        made[rows, places] += bytes_ * often


def _coded_slices(
    operands: Operands,
    work: Work,
    cost: dict[str, Float64],
    statistics: NDArray[np.float32],
    rows: NDArray[np.int64],
    deep: Float64,
) -> Float64:
    """Return the bytes of slices of the operators `rows` int64[k], so `deep` float64[k], float64[k, d]."""
    whole, micro, elements = work.take(rows), cost["micro"][rows], cost["elements"][rows]
    share = _microblocks(deep, micro) / _microblocks(whole.out_c, micro)
    weights = operands.elements[operands.weight[rows]] * deep / whole.out_c
    part = replace(whole, out_c=np.maximum(deep, 1.0))
    each = coded_weights(part, weights, elements * share, micro, statistics[rows])
    means = operands.is_type("MEAN")[rows]
    ones = elements[means] * share[means] * whole.mean_share[means, None] / STREAMS
    each[means] = uniform_bytes(ones) * used_streams(part.out_c[means])
    return each


def _microblocks(channels: Float64, micro: Float64) -> Float64:
    """Return so many channels [n] of whole microblocks, float64[n, d], of which U85's have `micro` [n, d]."""
    channels = channels[:, None]
    old = round_up(np.ceil(channels / STREAMS), MICRO_DEPTH) * STREAMS
    return np.where(_U85, round_up(channels, micro), old)
