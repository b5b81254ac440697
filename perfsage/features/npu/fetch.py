"""What an NPU moves to and from memory for each operator, as its compiler counts it.

Every block of outputs reads the inputs under it, with their rims, and once for each slice of channels; short
runs of channels waste the rest of a burst. Weights are kept, but scales and biases are read again for each
block over the image. The formulas are those of Vela 5 (`MeasureElementAccess`, `EstimateMemoryTransfer`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.blocks import Blocks
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
SCALE_BYTES = 10.0
_MAX_POOL = OUTPUT_KINDS.index("max_pool")
MOST_WRITTEN = 64


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
    read_waste = _read_waste(work, systems, blocks, far_in)
    write_waste = _write_waste(work, systems, blocks, far_out, work.larger)
    elements = _reads(work, blocks)
    both = _mean_waste(work, systems, blocks, far_in, read_waste)
    read = elements * np.where(work.binary, both, read_waste)
    written = work.out_h * work.out_w * _kept(work, work.target) * write_waste * work.wide * work.larger
    written = np.where(work.silent & (work.chained > 0), 0.0, written)
    scales = np.where(work.is_weighted, SCALE_BYTES * round_up(work.out_c, granule), 0.0)
    over_image = ceil_div(work.out_h, blocks.height) * ceil_div(work.out_w, blocks.width)
    # What is done on the way out reads its second operand.
    each = work.out_h * work.out_w * stored(work.out_c, work.target)
    second = work.chained * each
    chained = work.chained_far * (systems.far.is_dram & ~systems.is_u65)
    second, chained = np.maximum(second - chained, 0.0), chained * _chained_waste(work, systems, blocks)
    spilled = np.minimum(np.where(work.chained_spill & systems.spill_bit > 0, each, 0.0), second)
    second, chained = second - spilled, chained + spilled
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
        *_transfers(work, systems, blocks, read_waste),
    )


def fills(work: Work) -> Flags:
    """Return what only copies a constant, bool[n]."""
    return np.asarray((work.kind == POOLING) & (work.constant > 0))


def _is_far(work: Work, systems: Systems) -> tuple[Flags, Flags]:
    """Return whether inputs and outputs are where the application has them, or do not fit into SRAM."""
    spilled_in, spilled_out = (s & systems.spill_bit > 0 for s in (work.source_spill, work.target_spill))
    return (work.source == EDGE) | spilled_in, (work.target == EDGE) | spilled_out


def _transfers(
    work: Work, systems: Systems, blocks: Blocks, read_waste: Float64
) -> tuple[Float64, Float64, Float64, Float64]:
    """Return the cycles of reading one block and of writing one, and the same at the graph's ends."""
    # A single block does not see what its results lie beside.
    write_waste = _write_waste(work, systems, blocks, _is_far(work, systems)[1], 1.0)
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
    far_read = read * _read_waste(work, systems, blocks, outside)
    far_written = written * _write_waste(work, systems, blocks, outside, 1.0)
    leave_far = edge.write_latency + np.floor(far_written / edge.rate)
    leave += np.floor(written * write_waste / np.where(leaves, edge.rate, near.rate))
    enter += np.floor(read * read_waste / np.where(enters, edge.rate, near.rate))
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


def constant_waste(work: Work, burst: Float64 | float, blocks: Blocks) -> Float64:
    """Return how many bytes are moved for each byte of a constant that lies in rows."""
    whole = work.out_c == blocks.input_depth
    run = np.where(whole, blocks.input_depth * blocks.input_width, blocks.input_depth)
    return burst_waste(burst, run)


def burst_waste(burst: Float64 | float, run: Float64) -> Float64:
    """Return how many bytes are moved for each of those that lie in runs of so many."""
    return np.asarray(burst / np.minimum(burst, np.maximum(run, 1.0)))


def _kept(work: Work, formats: NDArray[np.int64]) -> Float64:
    """Return how many channels of the result are kept: arithmetic puts pixels of one channel side by side."""
    alike = (work.in_h == work.out_h) & (work.in_w == work.out_w)
    single = (work.kind == ELEMENTWISE) & (work.out_c == 1) & (alike | work.binary)
    return np.where(single, 1.0, stored(work.out_c, formats))


def _read_waste(work: Work, systems: Systems, blocks: Blocks, far: Flags) -> Float64:
    """Return how many bytes are moved for each that is read."""
    burst = np.where(far, systems.edge.burst, systems.near.burst)
    whole = work.in_c == blocks.input_depth
    run = np.where(whole, blocks.input_depth * blocks.input_width, blocks.input_depth)
    bricks = np.where(_is_stack(work.in_w, blocks.input_depth), blocks.input_depth, BRICK)
    run = np.where(work.source == BRICKS, bricks * blocks.input_width, run)
    return burst_waste(burst, run)


def _mean_waste(work: Work, systems: Systems, blocks: Blocks, far: Flags, first: Float64) -> Float64:
    """Return the same of two tensors: the `first` one wastes so much, the second has its own format."""
    if not (work.beside_source != work.source).any():
        return first
    second = _read_waste(replace(work, source=work.beside_source), systems, blocks, far)
    return np.asarray((first + work.smaller * second) / (1.0 + work.smaller))


def _chained_waste(work: Work, systems: Systems, blocks: Blocks) -> Float64:
    """Return how many bytes are moved for each that is read from DRAM for what is done on the way out."""
    if not work.chained_far.any():
        return np.ones(len(work))
    rows = np.full(len(work), EDGE)
    outside = np.ones(len(work), dtype=np.bool_)
    return _read_waste(replace(work, source=rows, in_c=work.out_c), systems, blocks, outside)


def _is_stack(width: Float64, depth: Float64) -> Flags:
    """Return where a row of bricks has as many bytes as a block has channels: Vela takes it for a run."""
    return np.asarray(width * BRICK == depth)


def _write_waste(
    work: Work, systems: Systems, blocks: Blocks, far: Flags, larger: Float64 | float
) -> Float64:
    """Return how many bytes are moved for each that is written, into what has so many times the channels."""
    burst = np.where(far, systems.edge.burst, systems.near.burst)
    # Blocks of U85 have at least a brick of channels.
    depth = np.where(work.larger > 1, np.maximum(blocks.depth, BRICK), blocks.depth)
    whole = (depth <= BRICK) & (work.out_c * larger == depth)
    cores = np.where(systems.is_u65, systems.cores, 1.0)
    most = np.minimum(MOST_WRITTEN, BRICK * cores * work.wide)
    run = np.where(whole, depth * blocks.width, np.minimum(depth * work.wide, most))
    # What is chained to others has its first result in bricks, wherever the last one goes.
    bricks = (work.target == BRICKS) | (work.chained > 0)
    row = np.where(_is_stack(work.out_w, depth), depth, BRICK * cores)
    run = np.where(bricks, row * blocks.width, run)
    return burst_waste(burst, run)
