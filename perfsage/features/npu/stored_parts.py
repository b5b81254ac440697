"""What an NPU's compiler stores for operators that it makes several of, or for several of them together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding import coded_bytes
from perfsage.features.coding_runs import SECTION
from perfsage.features.coding_zeros import Padding
from perfsage.features.npu.constants import ALIGNMENT
from perfsage.features.npu.formats import in_phases, multiples
from perfsage.features.npu.geometry import IS_U85
from perfsage.features.npu.once import first_of_graph
from perfsage.features.npu.streams import (
    MICRO_DEPTH,
    STREAMS,
    idle_streams,
    pads_at_end,
    used_streams,
)
from perfsage.features.npu.work import (
    BY_KERNEL,
    CONVOLUTION,
    NOTHING,
    SUBKERNEL,
    Float64,
    Work,
    round_up,
)
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_U85 = np.array(IS_U85, dtype=np.bool_)
_PHASES = 4.0
_PHASE_BITS, _PHASE_HEAD = 1.5, 54.0
"""Bits of each weight of a phase, which are 9, 3, 3 and 1, and of what begins and ends their stream."""
_INPUTS_AT_ONCE = 32.0
_LONG_RUN_BITS = 1 / 8
"""Bits of a zero in a long run, where shorter ones are not all that has been seen."""


def store_far_strides(
    made: Float64,
    operands: Operands,
    work: Work,
    cost: dict[str, Float64],
    scales: Float64,
    statistics: NDArray[np.float32],
) -> None:
    """U85 stores a convolution for each element of a kernel whose stride is too far.

    `made`, as in all of these, are bytes of coded weights and scales, float64[n, d], which are changed in
    place, and `scales` [n, d] those of scales alone.
    """
    rows = np.flatnonzero(work.far == BY_KERNEL)
    if not len(rows):
        return
    count = (work.kernel_h * work.kernel_w)[rows, None]
    weights = operands.elements[operands.weight[rows], None] / count
    idle = idle_streams(work.out_c[rows])
    one = np.ones(len(rows))
    single = replace(work.take(rows), kernel_h=one, kernel_w=one)
    padding = Padding(pads_at_end(single, cost["micro"][rows]) & (STREAMS > 1))
    each = coded_bytes(weights, cost["elements"][rows], STREAMS, idle, statistics[rows], padding)
    each += scales[rows]
    made[rows] = np.where(_U85, each * count, made[rows])


def pieces(operands: Operands, work: Work) -> Float64:
    """Return how many convolutions with scales of their own an operator is stored as, float64[n, d].

    One is stored for each group, for each multiple of a depthwise one, and for each part of a transposed one
    on U85.
    """
    depth, own = (operands.dimensions[each, 3] for each in (operands.data, operands.weight))
    grouped = operands.is_type("CONV_2D") & (work.kind == CONVOLUTION)
    groups = np.where(grouped, np.maximum(np.floor(depth / own), 1.0), multiples(operands))
    return np.asarray(transposed_parts(work) * groups[:, None])


def transposed_parts(work: Work) -> Float64:
    """Return how many convolutions U85 makes of each transposed one, float64[n, d]; 1 everywhere else."""
    return np.where(_U85, work.enlarged[:, None] ** 2, 1.0)


def store_vacant_sections(made: Float64, operands: Operands, work: Work, cost: dict[str, Float64]) -> None:
    """Sections without any weight of a kernel with wide dilation take a bit each zero, others an eighth."""
    taps = operands.dimensions[operands.weight][:, 1:3]
    kernel = np.stack([work.kernel_h, work.kernel_w], axis=1)
    rows = np.flatnonzero((work.kind == CONVOLUTION) & (kernel > 2.0 * taps).any(axis=1) & (work.far == 0))
    if not len(rows):
        return
    taps, kernel = taps[rows], kernel[rows]
    halved = work.span_h[rows, None] > kernel[:, :1]
    side = SUBKERNEL / np.where(halved, 2.0, 1.0)
    parts = np.ceil(kernel / side)
    busy = np.minimum(parts, taps).prod(axis=1) / parts.prod(axis=1)
    part = side**2 * np.clip(work.in_c[rows, None], 1.0, _INPUTS_AT_ONCE)
    depth = np.maximum(np.minimum(cost["depth"][rows], work.out_c[rows, None]), 1.0)
    vacant = (1.0 - busy[:, None]) ** np.maximum(SECTION * STREAMS / (part * depth), 1.0)
    zeros = np.maximum(cost["elements"][rows] - operands.elements[operands.weight[rows], None], 0.0)
    made[rows] += np.where(made[rows] > 0, vacant * zeros * (1.0 - _LONG_RUN_BITS) / 8.0, 0.0)


def store_phases(made: Float64, subgraph: Subgraph, operands: Operands, work: Work, scales: Float64) -> None:
    """Images are doubled by four convolutions, which are the same for all images as deep."""
    rows = np.flatnonzero(in_phases(subgraph, operands) & (work.kind != NOTHING))
    if not len(rows):
        return
    first = first_of_graph(subgraph, rows, work.out_c[rows, None])[:, None]
    made[rows] = np.where(_U85, made[rows], first * _phase_bytes(work.take(rows), scales[rows]))


def _phase_bytes(work: Work, scales: Float64) -> Float64:
    """Return the bytes of four convolutions of 2 x 2 that double an image, float64[n, d]."""
    elements = _PHASES * round_up(np.ceil(work.out_c[:, None] / STREAMS), MICRO_DEPTH)
    bits = round_up(elements * _PHASE_BITS + _PHASE_HEAD, 8.0 * ALIGNMENT)
    return _PHASES * (scales + bits / 8.0 * used_streams(work.out_c))


def store_means_once(
    made: Float64, subgraph: Subgraph, operands: Operands, work: Work, slices: Float64
) -> None:
    """Means of images of the same size have the same weights, and all of a graph are scaled by one number.

    What is cut into other `slices` [n, d] is coded in another way, and stored again.
    """
    rows = np.flatnonzero(operands.is_type("MEAN") & (work.kind != NOTHING))
    if not len(rows):
        return
    sizes = np.concatenate(
        [operands.dimensions[each[rows]] for each in (operands.data, operands.result)], axis=1
    )
    count = slices[rows]
    first = np.repeat(first_of_graph(subgraph, rows, sizes)[:, None], count.shape[1], axis=1)
    for place in np.flatnonzero((count != count[:1]).any(axis=0)):
        keys = np.concatenate([sizes, count[:, place : place + 1]], axis=1)
        first[:, place] = first_of_graph(subgraph, rows, keys)
    made[rows] *= first
    made[rows] += ALIGNMENT * first_of_graph(subgraph, rows)[:, None]
