"""What a softmax of 8 bits takes on Ethos-U55 and U65, by Arm's own estimate (see `softmax`).

Each of its operators takes as long as its outputs, as issuing its blocks or as what it moves, whichever is
most. These accelerators cannot broadcast both operands: a tensor of zeros is read from where constants are.
All functions but the smallest return what `taken` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from perfsage.features.npu.blocks import Blocks, choose_blocks, integer_blocks, laid_end_to_end, shared_blocks
from perfsage.features.npu.bursts import MOST_WRITTEN
from perfsage.features.npu.cycles_u55 import cycles_u55
from perfsage.features.npu.fetch import Moved, moved
from perfsage.features.npu.formats import BRICK, EDGE
from perfsage.features.npu.geometry import OUTPUT_KINDS, Geometry
from perfsage.features.npu.softmax import FEW_ELEMENTS, Sizes, laid_out, sizes_of, taken
from perfsage.features.npu.systems import Systems, systems_of
from perfsage.features.npu.work import (
    ELEMENTWISE,
    INTEGER_BYTES,
    POOLING,
    PRODUCT,
    Flags,
    Float64,
    Work,
    ceil_div,
)

_ADD, _MAX_POOL, _OTHER = (OUTPUT_KINDS.index(name) for name in ("add", "max_pool", "other"))


@dataclass(frozen=True, slots=True)
class _Block:
    """Blocks of arithmetic, float64[n]: the elements of one, and those of them that there are.

    `waste` and `scalar_waste` are how many bytes come from flash for each that is read, of a whole tensor and
    of a single integer.
    """

    volume: Float64
    filled: Float64
    waste: Float64
    scalar_waste: Float64


def softmax_u55(work: Work, geometries: tuple[Geometry, ...]) -> Float64:
    """Return what each softmax takes on each accelerator, float64[3, accelerators, n] as `taken` does."""
    count, times = len(work), len(geometries)
    sizes = sizes_of(work)
    systems = systems_of(geometries, count)
    whole = laid_out(work, np.stack([work.out_h, work.out_w, work.out_c]), ELEMENTWISE)
    bytes_ = _blocks(replace(whole, table=np.ones(count, dtype=np.bool_)), geometries, choose_blocks)
    integers = _blocks(whole, geometries, _streamed)
    flat = _blocks(laid_out(work, sizes.shape, ELEMENTWISE), geometries, _streamed)
    row = _blocks(laid_out(work, sizes.row_shape, ELEMENTWISE), geometries, _streamed)
    many, sizes = work.take(np.tile(np.arange(count), times)), sizes.tiled(times)
    total = (
        _largest(work, geometries, systems)
        + _exponentials(many, sizes, systems, bytes_, _described(flat, sizes.shape, systems))
        + _summed(whole, geometries, systems)
        + _reciprocal(sizes, systems, _described(row, sizes.row_shape, systems))
        + _multiplied(many, sizes, systems, integers, _described(flat, sizes.shape, systems))
    )
    return np.asarray(total.reshape(-1, times, count))


def _streamed(work: Work, geometry: Geometry) -> Blocks:
    return integer_blocks(work, geometry, streamed=True)


def _blocks(
    work: Work, geometries: tuple[Geometry, ...], choose: Callable[[Work, Geometry], Blocks]
) -> Blocks:
    """Return the blocks on all accelerators, one after the other."""
    return laid_end_to_end(shared_blocks(work, geometries, choose))


def _described(blocks: Blocks, shape: Float64, systems: Systems) -> _Block:
    height, width, depth = shape
    filled = np.minimum(blocks.height, height) * np.minimum(blocks.width, width)
    return _Block(
        volume=blocks.height * blocks.width * blocks.depth,
        filled=filled * np.minimum(blocks.depth, depth),
        waste=_waste(blocks, depth, systems),
        scalar_waste=_waste(blocks, 1.0, systems),
    )


def _waste(blocks: Blocks, channels: Float64 | float, systems: Systems) -> Float64:
    """Return how many bytes of integers come for each that is read, channels last.

    Bytes of a pixel are compared with channels of a block, so that few are ever read as a whole.
    """
    run = INTEGER_BYTES * blocks.depth * np.where(INTEGER_BYTES * channels == blocks.depth, blocks.width, 1.0)
    return systems.far.burst / np.minimum(systems.far.burst, run)


def _issued(elements: Float64, transfer: Float64, each: Float64, block: _Block) -> Float64:
    """Return the cycles of issuing blocks with such a transfer: a fourth of what they take."""
    return elements * (transfer / block.volume + each) / 4.0


def _scalar_transfer(systems: Systems, block: _Block) -> Float64:
    far = systems.far
    return far.read_latency + np.floor(INTEGER_BYTES * block.scalar_waste / far.rate)


def _largest(work: Work, geometries: tuple[Geometry, ...], systems: Systems) -> Float64:
    """The largest value of each row: a pooling of one channel, with all rows on top of each other."""
    count = len(work)
    ones = np.ones(count)
    pooled = laid_out(work, np.stack([work.out_h * work.out_w, ones, ones]), POOLING)
    pooled = replace(pooled, in_w=work.out_c, kernel_w=work.out_c, span_w=work.out_c, target=work.source)
    blocks = _blocks(pooled, geometries, choose_blocks)
    pooled = pooled.take(np.tile(np.arange(count), len(geometries)))
    bytes_moved = moved(pooled, systems, blocks)
    element = systems.output_cycles[:, _MAX_POOL]
    cycles = cycles_u55(pooled, systems, element, blocks, bytes_moved)[:, 0]
    memory = np.maximum(bytes_moved.near / systems.near.rate, bytes_moved.far / systems.far.rate)
    return taken(np.maximum(cycles, memory), bytes_moved.near, bytes_moved.far)


def _exponentials(work: Work, sizes: Sizes, systems: Systems, bytes_: Blocks, block: _Block) -> Float64:
    """The difference from the largest, which is looked up, and a shift of what comes out."""
    near, far = systems.near, systems.far
    outside = (work.source == EDGE) & systems.edge.is_dram
    burst = np.where(outside, far.burst, near.burst)
    run = np.where(work.out_c == bytes_.depth, bytes_.depth * bytes_.width, bytes_.depth)
    values = sizes.elements * burst / np.minimum(burst, run)
    # The largest value of each row counts as often as there are elements, one channel at a time.
    largest = sizes.elements * burst / np.minimum(burst, bytes_.depth)
    largest = np.where(sizes.rows == 1, BRICK, largest)
    written = INTEGER_BYTES * sizes.kept
    element = np.maximum(systems.output_cycles[:, _ADD], systems.table_cycles)
    inside = np.where(outside, 0.0, values + largest) + written
    beyond = np.where(outside, values + largest, 0.0)
    waits = np.maximum(inside / near.rate, beyond / far.rate)
    difference = taken(np.maximum(element * sizes.kept, waits), inside, beyond)
    two, scalar = systems.integer_cycles[:, 1], np.where(sizes.flat, INTEGER_BYTES, INTEGER_BYTES * BRICK)
    inside, beyond = written + INTEGER_BYTES * sizes.elements, scalar * block.scalar_waste
    shift = np.maximum(two * sizes.elements, np.maximum(inside / near.rate, beyond / far.rate))
    issued = _issued(sizes.elements, _scalar_transfer(systems, block), two, block)
    return np.asarray(difference + taken(np.maximum(shift, issued), inside, beyond))


def _summed(whole: Work, geometries: tuple[Geometry, ...], systems: Systems) -> Float64:
    """The sum of each row, over channels."""
    count = len(whole)
    sums = replace(whole, kind=np.full(count, PRODUCT), out_c=np.ones(count))
    blocks = _blocks(sums, geometries, lambda work, geometry: integer_blocks(work, geometry, streamed=False))
    sums = sums.take(np.tile(np.arange(count), len(geometries)))
    near, rows = systems.near, sums.out_h * sums.out_w
    high, wide = np.minimum(blocks.height, sums.out_h), np.minimum(blocks.width, sums.out_w)
    read = INTEGER_BYTES * high * wide * np.minimum(blocks.input_depth, sums.in_c)
    enter = near.read_latency + np.floor(read / near.rate)
    leave = near.write_latency + np.floor(INTEGER_BYTES * high * wide / near.rate)
    nothing = np.zeros(len(sums))
    bytes_moved = Moved(*(nothing,) * 7, enter=enter, leave=leave, enter_far=enter, leave_far=leave)
    cycles = cycles_u55(sums, systems, systems.output_cycles[:, _OTHER], blocks, bytes_moved)[:, 0]
    across = ceil_div(sums.out_h, blocks.height) * ceil_div(sums.out_w, blocks.width)
    kept = np.where(rows > FEW_ELEMENTS, rows, BRICK * rows)
    memory = INTEGER_BYTES * (across * high * wide * sums.in_c + kept)
    return taken(np.maximum(cycles, memory / near.rate), memory, 0.0)


def _reciprocal(sizes: Sizes, systems: Systems, block: _Block) -> Float64:
    """What is done with one integer a row: Newton's method, three times."""
    near, far = systems.near, systems.far
    one, two = systems.integer_cycles[:, 0], systems.integer_cycles[:, 1]
    single, bricks, rows = sizes.rows == 1, sizes.bricks, sizes.row_kept
    inner = near.read_latency + np.floor(INTEGER_BYTES * block.filled / near.rate)
    scalar = _scalar_transfer(systems, block)

    def took(each: Float64, elements: Float64, integers: Float64, transfer: Float64) -> Float64:
        issued, bytes_ = _issued(elements, transfer, each, block), INTEGER_BYTES * integers
        return taken(np.maximum(np.maximum(each * elements, issued), bytes_ / near.rate), bytes_, 0.0)

    # A single integer as the second operand is not read again.
    pair = np.where(single, bricks, 2.0 * bricks)
    beside = np.where(single, 0.0, INTEGER_BYTES * BRICK * block.scalar_waste)
    constant = np.maximum(took(two, bricks, 2.0 * bricks, scalar), taken(beside / far.rate, 0.0, beside))
    from_constant = took(two, bricks, bricks, scalar)
    both = took(two, bricks, pair + bricks, inner)
    leading = took(one, bricks, rows + bricks, inner) + took(two, rows, rows, scalar)
    shifted = took(two, bricks, rows + pair, inner)
    last = took(two, rows, pair + rows, inner)
    return leading + shifted + 6.0 * constant + 3.0 * from_constant + 8.0 * both + last


def _multiplied(work: Work, sizes: Sizes, systems: Systems, integers: Blocks, block: _Block) -> Float64:
    """The product with the reciprocal, zeros that are added so that it is broadcast, and the last shift."""
    near, far, two = systems.near, systems.far, systems.integer_cycles[:, 1]
    kept, bytes_kept = sizes.kept, INTEGER_BYTES * sizes.kept
    second = np.where(sizes.rows == 1, INTEGER_BYTES * BRICK, bytes_kept)
    moved_ = 2.0 * bytes_kept + second
    product = taken(np.maximum(two * kept, moved_ / near.rate), moved_, 0.0)
    enter = far.read_latency + np.floor(INTEGER_BYTES * block.filled * block.waste / far.rate)
    zeros = INTEGER_BYTES * sizes.elements * block.waste
    cycles = np.maximum(np.maximum(two * kept, _issued(kept, enter, two, block)), zeros / far.rate)
    widened = taken(cycles, INTEGER_BYTES * sizes.elements + bytes_kept, zeros)
    return product + widened + _written(work, sizes, systems, integers, bytes_kept + second)


def _written(work: Work, sizes: Sizes, systems: Systems, integers: Blocks, read: Float64) -> Float64:
    """The last shift, which makes bytes of integers."""
    near, far, two = systems.near, systems.far, systems.integer_cycles[:, 1]
    leaves: Flags = work.target == EDGE
    outside = leaves & systems.edge.is_dram
    burst = np.where(outside, far.burst, near.burst)
    cores = np.where(systems.is_u65, systems.cores, 1.0)
    whole = (integers.depth <= BRICK) & (work.out_c == integers.depth)
    most = np.minimum(integers.depth, np.minimum(MOST_WRITTEN, BRICK * cores))
    waste = burst / np.minimum(burst, np.where(whole, integers.depth * integers.width, most))
    written = np.where(leaves | sizes.flat, sizes.elements * waste, sizes.kept)
    elements = np.where(leaves, sizes.elements, sizes.kept)
    filled = np.minimum(integers.height, work.out_h) * np.minimum(integers.width, work.out_w)
    filled = filled * np.minimum(integers.depth, work.out_c)
    leave = np.where(outside, far.write_latency + np.floor(filled * waste / far.rate), 0.0)
    issued = elements * (leave / (integers.height * integers.width * integers.depth) + two) / 4.0
    inside, beyond = np.where(outside, 0.0, written) + read, np.where(outside, written, 0.0)
    waits = np.maximum(inside / near.rate, beyond / far.rate)
    return taken(np.maximum(np.maximum(two * elements, issued), waits), inside, beyond)
