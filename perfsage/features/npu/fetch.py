"""What an NPU moves to and from memory for each operator, as its compiler counts it.

Every block of outputs reads the inputs under it, with their rims, and once for each slice of channels; short
runs of channels waste the rest of a burst. Weights are kept, but scales and biases are read again for each
block over the image. The formulas are those of Vela 5 (`MeasureElementAccess`; see `bursts`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.bursts import chained_waste, constant_waste, mean_waste, read_waste, write_waste
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE
from perfsage.features.npu.geometry import OUTPUT_KINDS
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import (
    DEPTHWISE,
    ELEMENTWISE,
    POOLING,
    SUBKERNEL,
    TRANSPOSED,
    Flags,
    Float64,
    Work,
    ceil_div,
    round_up,
)

FETCHED = ("near", "far", "awaited", "coded", "ahead", "sram")
"""Bytes inside that an operator waits for: activations and copied weights. Those outside, read and written:
what comes from where constants are, and activations at the graph's ends where these are in the same memory;
and as many as take as long as what of it an operator waits for. All that is stored: coded weights, scales,
tables and other constants. Those of weights that are inside beside activations; and all that are read and
written inside, waited for or not, which is what costs energy."""
CYCLES, NEAR, FAR, AWAITED, CODED, AHEAD, SRAM = range(1 + len(FETCHED))
"""Positions of these among the columns of an accelerator, of which its cycles are the first."""
SCALE_BYTES = 10.0
_MAX_POOL = OUTPUT_KINDS.index("max_pool")


@dataclass(frozen=True, slots=True)
class Moved:
    """What an operator moves, float64[n]: bytes `near` and `far`, and of one reading of scales and biases.

    `near_alone` and `far_alone` are as many bytes as take as long as the slower of reading and writing alone.
    `readings` is how often scales, biases and weights are read. `enter` and `leave` are the cycles until the
    first block is there and until the last one is away, `enter_far` and `leave_far` the same if inputs and
    outputs were where the graph's ends are. `input` are the bytes that one pass over the image reads.
    """

    near: Float64
    near_alone: Float64
    far: Float64
    far_alone: Float64
    scales: Float64
    readings: Float64
    input: Float64
    enter: Float64
    leave: Float64
    enter_far: Float64
    leave_far: Float64


def moved(work: Work, systems: Systems, blocks: Blocks, granule: Float64 | float = 1.0) -> Moved:
    """Return what is moved for one of each batch; scales come for multiples of `granule` channels."""
    far_in, far_out = _is_far(work, systems)
    reading = read_waste(work, systems, blocks, far_in)
    writing = write_waste(work, systems, blocks, far_out, work.larger)
    elements = _reads(work, blocks)
    both = mean_waste(work, systems, blocks, far_in, reading)
    read = elements * np.where(work.binary, both, reading)
    written = work.out_h * work.out_w * _kept(work, work.target) * writing * work.wide * work.larger
    written = np.where(work.silent & (work.chained > 0), 0.0, written)
    scales = np.where(work.is_weighted, SCALE_BYTES * round_up(work.out_c, granule), 0.0)
    over_image = ceil_div(work.out_h, blocks.height) * ceil_div(work.out_w, blocks.width)
    second, chained = _chained(work, systems, blocks)
    beside = work.beside * constant_waste(work, systems.far.burst, blocks)
    outside = systems.far.is_dram
    filled = fills(work)
    constant = np.where(filled, elements, work.constant) * constant_waste(work, systems.far.burst, blocks)
    read = np.where(filled, 0.0, read - work.constant)
    far_read = np.where(far_in & outside, read, 0.0) + beside + constant + chained
    far_written = np.where(far_out & outside, written, 0.0)
    near_read, near_written = read + beside + constant + chained - far_read + second, written - far_written
    near, far = systems.near, systems.far
    # What arithmetic reads, and what is chained to others, comes through a channel of its own.
    streams = (work.kind == ELEMENTWISE) & (work.binary | (work.output < _MAX_POOL))
    near_alone = np.where(streams, near_read, np.maximum(near_read - second, second))
    far_alone = np.where(streams, far_read, np.maximum(far_read - chained, chained))
    return Moved(
        near_read + near_written,
        np.maximum(near_alone * near.reading, near_written * near.writing),
        far_read + far_written,
        np.maximum(far_alone * far.reading, far_written * far.writing),
        round_up(scales, BRICK),
        over_image,
        elements / np.where(work.is_matrix, ceil_div(work.out_c, blocks.depth), 1.0),
        *_transfers(work, systems, blocks, reading),
    )


def _chained(work: Work, systems: Systems, blocks: Blocks) -> tuple[Float64, Float64]:
    """Return the bytes that second operands take of what is done on the way out, inside and outside."""
    each = work.out_h * work.out_w * stored(work.out_c, work.target)
    second, far = work.chained * each, work.chained_far * (systems.far.is_dram & ~systems.is_u65)
    second, far = np.maximum(second - far, 0.0), far * chained_waste(work, systems, blocks)
    spills = (work.chained_spill & systems.spill_bit > 0) & systems.far.is_dram
    spilled = np.minimum(np.where(spills, each, 0.0), second)
    return second - spilled, far + spilled


def fills(work: Work) -> Flags:
    """Return what only copies a constant, bool[n]."""
    return np.asarray((work.kind == POOLING) & (work.constant > 0))


def _is_far(work: Work, systems: Systems) -> tuple[Flags, Flags]:
    """Return whether inputs and outputs are where the application has them, or do not fit into SRAM."""
    spilled_in, spilled_out = (s & systems.spill_bit > 0 for s in (work.source_spill, work.target_spill))
    return (work.source == EDGE) | spilled_in, (work.target == EDGE) | spilled_out


def _transfers(
    work: Work, systems: Systems, blocks: Blocks, reading: Float64
) -> tuple[Float64, Float64, Float64, Float64]:
    """Return the cycles of reading one block and of writing one, and the same at the graph's ends."""
    # A single block does not see what its results lie beside.
    writing = write_waste(work, systems, blocks, _is_far(work, systems)[1], 1.0)
    high = np.minimum(blocks.input_elements / (blocks.input_width * blocks.input_depth), work.in_h)
    read = high * np.minimum(blocks.input_width, work.in_w) * np.minimum(blocks.input_depth, work.in_c)
    written = np.minimum(blocks.height, work.out_h) * np.minimum(blocks.width, work.out_w)
    written = written * np.minimum(blocks.depth, work.out_c) * work.wide
    # A transpose is read and written as a whole.
    whole = work.kind == TRANSPOSED
    read = np.where(whole, work.in_h * work.in_w * work.in_c, read)
    written = np.where(whole, work.out_h * work.out_w * work.out_c, written)
    near, edge = systems.near, systems.edge
    enters, leaves = _is_far(work, systems)
    enter = np.where(enters, edge.read_latency, near.read_latency)
    leave = np.where(leaves, edge.write_latency, near.write_latency)
    outside = np.ones(len(work), dtype=np.bool_)
    far_read = read * read_waste(work, systems, blocks, outside)
    far_written = written * write_waste(work, systems, blocks, outside, 1.0)
    leave_far = edge.write_latency + np.floor(far_written / edge.rate)
    leave += np.floor(written * writing / np.where(leaves, edge.rate, near.rate))
    enter += np.floor(read * reading / np.where(enters, edge.rate, near.rate))
    if (filled := fills(work)).any():
        far = systems.far
        bytes_ = read * constant_waste(work, far.burst, blocks)
        enter = np.where(filled, far.read_latency + np.floor(bytes_ / far.rate), enter)
    # What is chained to others has no place of its own, and stays planned for where images are.
    chained = (work.chained > 0) & (systems.spill_bit > 0)
    return (
        enter,
        np.where(chained, leave_far, leave),
        edge.read_latency + np.floor(far_read / edge.rate),
        leave_far,
    )


def stored(channels: Float64, formats: NDArray[np.int64]) -> Float64:
    """Return how many channels are kept for so many."""
    return np.where(formats == BRICKS, round_up(channels, BRICK), channels)


def _reads(work: Work, blocks: Blocks) -> Float64:
    """Return the elements that are read, over all blocks."""
    high = np.minimum(blocks.input_elements / (blocks.input_width * blocks.input_depth), work.in_h)
    area = high * np.minimum(blocks.input_width, work.in_w)
    count = ceil_div(work.out_h, blocks.height) * ceil_div(work.out_w, blocks.width)
    alone = (work.kind == DEPTHWISE) | (work.kind == POOLING)
    count = count * np.where(alone, 1.0, ceil_div(work.out_c, blocks.depth))
    count = count * ceil_div(work.kernel_h, SUBKERNEL) * ceil_div(work.kernel_w, SUBKERNEL)
    blocked = area / work.enlarged**2 * stored(work.in_c, work.source) * count
    streamed = work.out_h * work.out_w * _kept(work, work.source) * (1.0 + work.binary * work.smaller)
    image = work.in_h * work.in_w * stored(work.in_c, work.source)
    # What is added to zeros is broadcast, and counts as large as these.
    streamed = np.where(work.is_enlarged & (work.beside == 0), image, streamed)
    read = np.where(work.kind == ELEMENTWISE, streamed, blocked)
    return np.where(work.kind == TRANSPOSED, work.in_h * work.in_w * work.in_c, read)


def _kept(work: Work, formats: NDArray[np.int64]) -> Float64:
    """Return how many channels of the result are kept: arithmetic puts pixels of one channel side by side."""
    alike = (work.in_h == work.out_h) & (work.in_w == work.out_w)
    single = (work.kind == ELEMENTWISE) & (work.out_c == 1) & (alike | work.binary)
    return np.where(single, 1.0, stored(work.out_c, formats))
