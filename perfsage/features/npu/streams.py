"""How many weights an NPU's stream has: those of the file, and zeros that fill up microblocks.

The order is that of Vela 5's weight encoders: output channels in microblocks, input channels in eights or in
whole blocks, kernels in parts of at most 8 by 8 with their elements padded.
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.formats import BRICK
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import (
    CONVOLUTION,
    DEPTHWISE,
    SPARSE_DEPTH,
    Flags,
    Float64,
    Work,
    kernel_parts,
    round_up,
)

STREAMS = np.array([geometry.cores for geometry in GEOMETRIES], dtype=np.float64)
"""How many streams of weights each accelerator reads at once."""
_INTERLEAVED = np.where(IS_U85, STREAMS, 0.0)
SCALES_AT_ONCE = 16.0
"""Scales of U85 come for whole multiples of so many channels, and for whole microblocks."""
MICRO_DEPTH = 8.0
"""Channels of the microblocks of U55 and U65, and of most of U85's."""
_INPUTS_AT_ONCE = 64.0
_TURN = 4
"""Channels that go to the same stream of U85 before the next one has its turn."""


def idle_streams(channels: Float64) -> Float64:
    """Return how many streams have nothing but padding for so many channels [n], float64[n, d]."""
    return np.asarray(np.maximum(_INTERLEAVED - np.ceil(channels / _TURN)[:, None], 0.0))


def fuller_streams(channels: Float64) -> tuple[Float64, Float64]:
    """Return how many streams have a turn more than others that have some, and their share of channels.

    Both are float64[n, d] for `channels` [n], and 0 where all streams have as many turns or some have none.
    """
    turns = np.ceil(channels / _TURN)[:, None]
    each = np.floor(turns / STREAMS)
    more = np.where((_INTERLEAVED > 1.0) & (each > 0), turns - each * STREAMS, 0.0)
    others = (STREAMS - more) * each * _TURN
    return more, np.where(more > 0, 1.0 - others / channels[:, None], 0.0)


def used_streams(channels: Float64) -> Float64:
    """Return how many streams are stored for so many channels [n], float64[n, d]: on U65 no idle ones."""
    return np.where(IS_U85, STREAMS, np.clip(channels[:, None], 1.0, STREAMS))


def pads_at_end(work: Work, micro: Float64) -> Flags:
    """Return whether a stream's padding all comes last, bool[n, d], with so many channels of a microblock."""
    # Others come for each element of a kernel, or for each block of inputs.
    single = (work.kernel_h * work.kernel_w == 1)[:, None]
    point = single & ((work.kind == CONVOLUTION) & (work.in_c <= BRICK))[:, None]
    whole = (work.kind == DEPTHWISE)[:, None] & (single | (work.out_c[:, None] > micro / 2))
    return np.asarray((np.array(IS_U85) > 0) & (point | whole) & (work.out_c[:, None] <= micro))


def elements_u55(work: Work, systems: Systems, part_kernel: Flags) -> Float64:
    """Return the elements of each stream on U55 and U65, float64[n]; 0 where there are no weights."""
    alone = work.kind == DEPTHWISE
    kernel = _padded(work, np.where(alone | part_kernel, 4.0, 1.0))
    inputs = np.where(alone, 1.0, round_up(work.in_c, np.where(part_kernel, 8.0, 32.0)))
    each = np.ceil(work.out_c / systems.cores)
    outputs = systems.cores * round_up(each, systems.micro[:, 2])
    return np.where((work.kind == CONVOLUTION) | alone, kernel * inputs * outputs, 0.0)


def elements_u85(work: Work, systems: Systems, micro: Float64, blocks: Blocks) -> Float64:
    """Return the same on U85; `micro` float64[n, 3] are the operators' microblocks."""
    alone = work.kind == DEPTHWISE
    # Ten elements of a kernel that is alone with its channel take as much as a wider stream needs.
    ten = np.where(systems.macs <= 256, 10.0, np.where(systems.macs <= 512, 12.0, 16.0))
    # Beside many zeros, those that fill up parts as large take next to nothing.
    part = np.where(work.sparse & (work.in_c <= SPARSE_DEPTH), 10.0, 5.0)
    kernel = _padded(work, np.where(alone, 10.0, np.where(blocks.part_kernel, part, 1.0)))
    kernel = kernel * np.where(alone, ten / 10.0, 1.0)
    inputs = np.where(alone, 1.0, round_up(work.in_c, np.clip(blocks.input_depth, 1.0, _INPUTS_AT_ONCE)))
    outputs = round_up(work.out_c, micro[:, 2])
    return np.where((work.kind == CONVOLUTION) | alone, kernel * inputs * outputs, 0.0)


def _padded(work: Work, multiple: Float64) -> Float64:
    """Return the elements of kernels whose parts are padded to a multiple."""
    return padded_kernel(work, multiple)[0]


def padded_kernel(work: Work, multiple: Float64) -> tuple[Float64, Float64]:
    """Return the elements of kernels whose parts are padded to a multiple, and of how many parts are.

    Parts of kernels whose elements lie apart have half of a side each.
    """
    total, parts = np.zeros(len(work)), np.zeros(len(work))
    apart_h, apart_w = (
        np.where(span > kernel, 2.0, 1.0)
        for span, kernel in ((work.span_h, work.kernel_h), (work.span_w, work.kernel_w))
    )
    for part_w, times_w in kernel_parts(work.kernel_w * apart_w):
        for part_h, times_h in kernel_parts(work.kernel_h * apart_h):
            size = part_w * part_h / (apart_w * apart_h)
            padded = round_up(size, multiple)
            total += padded * times_w * times_h
            parts += np.where(padded > size, times_w * times_h, 0.0)
    return total, parts
