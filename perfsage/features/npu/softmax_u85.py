"""What a softmax of 8 bits takes on Ethos-U85, by Arm's own estimate (see `softmax`).

Channels are put first where that makes the search for the largest value quick, and several operators are done
at once, one after the other on the way out. The larger ones have what does not fit into SRAM in DRAM.
All functions but the smallest return what `taken` does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cycles_u85 import cycles_u85, microblocks_u85
from perfsage.features.npu.fetch import moved
from perfsage.features.npu.fitted_u85 import fitted_blocks, fitted_sums
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE, FEW_CHANNELS, LEAST_TURNED, LINEAR
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.pace import paced
from perfsage.features.npu.softmax import FEW_ELEMENTS, Sizes, laid_out, sizes_of, taken
from perfsage.features.npu.softmax_spills import Places, places_of, turned_spills, written
from perfsage.features.npu.systems import MemoryRows, Systems, systems_of
from perfsage.features.npu.work import INTEGER_BYTES, POOLING, Flags, Float64, Work, ceil_div, round_up

SUM_DEPTH = 32.0
"""Channels of integers that are summed at once."""
BRICK_BYTES = INTEGER_BYTES * BRICK


def softmax_u85(work: Work, geometries: tuple[Geometry, ...]) -> Float64:
    """Return what each softmax takes on each accelerator, float64[3, accelerators, n] as `taken` does."""
    count, times = len(work), len(geometries)
    systems = systems_of(geometries, count)
    sizes = sizes_of(work).tiled(times)
    turned, shape = _turned(work)
    largest = _largest(work, geometries, systems, turned, shape)
    many = work.take(np.tile(np.arange(count), times))
    bricks = np.tile(turned, times) & (many.source != EDGE) & (many.out_c >= FEW_CHANNELS)
    places = places_of(many, sizes, systems, bricks)
    total = (
        largest
        + _exponentials(many, sizes, systems, bricks, places)
        + _summed(many, geometries, systems, places)
        + _reciprocal(sizes, systems, places)
        + _multiplied(many, sizes, systems, geometries, places)
    )
    return np.asarray(total.reshape(-1, times, count))


def _took(
    systems: Systems,
    cycles: Float64,
    read: tuple[tuple[Float64, Flags], ...],
    made: tuple[Float64, Flags],
) -> Float64:
    """Return cycles, or those of what is read and written, each in bytes and whether it lies in DRAM."""
    longest, bytes_ = cycles, []
    for memory, beyond in ((systems.near, False), (systems.far, True)):
        reads = sum((np.where(there == beyond, size, 0.0) for size, there in read), np.zeros(len(cycles)))
        written_ = np.where(made[1] == beyond, made[0], 0.0)
        longest = np.maximum(longest, _moving(memory, reads, written_))
        bytes_.append(reads + written_)
    return taken(longest, *bytes_)


def _moving(memory: MemoryRows, read: Float64, made: Float64) -> Float64:
    channels = np.maximum(read * memory.reading, made * memory.writing)
    return np.asarray(np.maximum(read + made, channels) / memory.rate)


def _turned(work: Work) -> tuple[Flags, Float64]:
    """Return where channels are put first, and the pixels of a row and the rows then, float64[2, n]."""
    wide = work.out_w > 1
    across = np.where(wide, work.out_w, work.out_h)
    return (across >= LEAST_TURNED) & (work.out_h * work.out_w > 1), np.stack(
        [np.where(wide, work.out_h, work.out_w), across]
    )


def _largest(
    work: Work, geometries: tuple[Geometry, ...], systems: Systems, turned: Flags, shape: Float64
) -> Float64:
    """The largest value of each row: a pooling, after a transpose where channels are put first."""
    high, across = shape
    source = np.where(turned & (work.out_c >= FEW_CHANNELS), BRICKS, LINEAR)
    source = np.where(work.source == EDGE, EDGE, source)
    before = laid_out(work, np.stack([work.out_h, work.out_w, work.out_c]), POOLING)
    before, spills = replace(before, source=source), turned_spills(work, high, across)
    made: dict[str, Any] = {"target": np.full(len(work), BRICKS), "target_spill": spills}
    transposed = replace(before, out_h=work.out_c, out_w=high, out_c=across, **made)
    pooled = _rows_pooled(replace(work, source=source), turned, shape, spills)
    first = np.where(np.tile(turned, len(geometries)), _pooled(transposed, before, geometries, systems), 0.0)
    return first + _pooled(pooled, None, geometries, systems)


def _rows_pooled(work: Work, turned: Flags, shape: Float64, spills: NDArray[np.int64]) -> Work:
    """Return the pooling of each row, which lies where its source does; the transpose lies in `spills`."""
    high, across = shape
    rows, ones = work.out_h * work.out_w, np.ones(len(work))
    sides = ((ones, rows), (high, ones), (across, ones))
    pooled = laid_out(work, np.stack([np.where(turned, *pair) for pair in sides]), POOLING)
    kernel_h, kernel_w = np.where(turned, work.out_c, 1.0), np.where(turned, 1.0, work.out_c)
    changed: dict[str, Any] = {
        "in_h": np.where(turned, work.out_c, rows),
        "in_w": np.where(turned, high, work.out_c),
        "kernel_h": kernel_h,
        "kernel_w": kernel_w,
        "span_h": kernel_h,
        "span_w": kernel_w,
        "source": np.where(turned, BRICKS, work.source),
        "source_spill": np.where(turned, spills, work.source_spill),
        "target": np.where(work.source == EDGE, EDGE, LINEAR),
        "target_spill": work.source_spill,
    }
    return replace(pooled, **changed)


def _pooled(work: Work, before: Work | None, geometries: tuple[Geometry, ...], systems: Systems) -> Float64:
    """Return the cycles of poolings, whose blocks are those of the image `before` it is transposed."""
    micro = np.concatenate([microblocks_u85(before or work, geometry) for geometry in geometries])
    blocks = fitted_blocks(work, before, geometries, micro)
    work = work.take(np.tile(np.arange(len(work)), len(geometries)))
    bytes_moved = moved(work, systems, blocks, round_up(micro[:, 2], float(BRICK)))
    cycles = cycles_u85(work, systems, systems.output_cycles[:, 0], blocks, micro, bytes_moved)[:, 0]
    near = np.maximum(bytes_moved.near, bytes_moved.near_alone) / systems.near.rate
    far = np.maximum(bytes_moved.far, bytes_moved.far_alone) / systems.far.rate
    return taken(np.maximum(cycles, np.maximum(near, far)), bytes_moved.near, bytes_moved.far)


def _exponentials(work: Work, sizes: Sizes, systems: Systems, bricks: Flags, places: Places) -> Float64:
    """The difference from the largest, which is looked up, and a shift of what comes out."""
    depth = round_up(work.out_c, BRICK)
    burst = np.where(places.source, systems.far.burst, systems.near.burst)
    waste = burst / np.minimum(burst, depth)
    # Whole pixels follow each other.
    values = np.where(work.out_c == depth, 1.0, waste) * sizes.elements
    values = np.where(bricks, sizes.rows * depth, values)
    largest = sizes.rows * np.where(bricks, BRICK, 1.0) * waste
    element = np.maximum(systems.output_cycles[:, 0], systems.table_cycles)
    made = (INTEGER_BYTES * sizes.kept, places.exponentials)
    difference = _took(systems, element * sizes.kept, ((values + largest, places.source),), made)
    shifted = (written(INTEGER_BYTES * sizes.elements, places.shifted), places.shifted)
    return difference + _took(systems, systems.integer_cycles[:, 1] * sizes.elements, (made,), shifted)


def _summed(work: Work, geometries: tuple[Geometry, ...], systems: Systems, places: Places) -> Float64:
    """The sum of each row, over channels."""
    micro, high, wide, across = fitted_sums(work, geometries, SUM_DEPTH)
    step, rows = np.minimum(work.in_c, SUM_DEPTH), work.out_h * work.out_w
    area = ceil_div(high, micro[:, 0]) * ceil_div(wide, micro[:, 1])
    count = ceil_div(work.out_h, micro[:, 0]) * ceil_div(work.out_w, micro[:, 1]) / area
    products = (
        np.maximum(np.floor(4.0 * micro[:, 2] / systems.cores), np.floor(step / 8.0) * area) * INTEGER_BYTES
    )
    products = (products + np.where(area == 1, 2.0, 0.0)) * ceil_div(work.in_c, step)
    near, far = systems.near, systems.far
    latency = np.where(places.shifted, far.read_latency, near.read_latency)
    enter = latency + np.floor(
        INTEGER_BYTES * high * wide * step / np.where(places.shifted, far.rate, near.rate)
    )
    leave = near.write_latency + np.floor(INTEGER_BYTES * high * wide / near.rate)
    cycles = paced(products, np.ceil(systems.integer_cycles[:, 0] * high * wide), count, enter, leave)
    read = INTEGER_BYTES * across * high * wide * work.in_c
    kept = INTEGER_BYTES * np.where(rows > FEW_ELEMENTS, rows, BRICK * rows)
    return _took(systems, cycles, ((read, places.shifted),), (kept, places.never))


def _reciprocal(sizes: Sizes, systems: Systems, places: Places) -> Float64:
    """What is done with one integer a row: Newton's method, three times."""
    one, two, passed, _ = systems.integer_cycles.T
    bricks, rows, single = sizes.bricks, sizes.row_kept, sizes.rows == 1
    kept, linear = INTEGER_BYTES * bricks, INTEGER_BYTES * rows
    inside, there, late = places.never, places.rows, places.exponentials
    # What ends with arithmetic on the way out does not count as written (see `Work.silent`).
    silent = (np.zeros(len(rows)), inside)
    # The second of two single integers comes from where constants are.
    burst = np.where(single, systems.far.burst, 0.0)
    alone = taken(burst * systems.far.reading / systems.far.rate, 0.0, burst)
    more = np.where(single, 0.0, kept)
    counted = _took(systems, one * bricks, ((np.where(single, 0.0, linear), inside),), (kept, inside))
    counted += _took(systems, two * rows, ((linear, inside),), (written(linear, late), late))
    read = np.where(single, 0.0, linear + kept)
    halved = _took(systems, (passed + two) * bricks, ((read, inside),), silent)
    started = _took(systems, (passed + two) * bricks, ((more, there),), silent)
    step = _took(systems, (3.0 * passed + two) * bricks, ((2.0 * more + kept, there),), silent)
    added = _took(systems, two * bricks, ((more + kept, there),), (kept, there))
    last = _took(systems, two * rows, ((more + kept, there),), (written(linear, late), late))
    ahead = np.maximum(halved, alone) + np.maximum(started, alone)
    return np.asarray(counted + ahead + 3.0 * step + 2.0 * added + last)


def _multiplied(
    work: Work, sizes: Sizes, systems: Systems, geometries: tuple[Geometry, ...], places: Places
) -> Float64:
    """The product with the reciprocal and the last shift, which are done at once."""
    passed, near, far = systems.integer_cycles[:, 2], systems.near, systems.far
    depth = round_up(work.out_c, BRICK)
    elements = sizes.rows * depth
    block_area = np.array([geometry.chained_area for geometry in geometries], dtype=np.float64)
    area = np.repeat(block_area, len(work) // len(geometries))
    deep = np.where(depth > BRICK, 2.0 * BRICK, BRICK)
    filled = INTEGER_BYTES * np.minimum(area, sizes.rows) * np.minimum(deep, work.out_c)
    # What is passed on counts as if it were written to where activations are.
    leave = np.where(
        far.is_dram,
        far.write_latency + np.floor(filled / far.rate),
        near.write_latency + np.floor(filled / near.rate),
    )
    enter = np.where(places.exponentials, far.read_latency + np.floor(filled / far.rate), 0.0)
    issued = elements * (np.maximum(enter, leave) / (area * deep) + 2.0 * passed) / 4.0
    second = np.where(sizes.flat, INTEGER_BYTES, BRICK_BYTES) * sizes.rows + INTEGER_BYTES * sizes.rows
    second = np.where(sizes.rows == 1, 0.0, second)
    read = (INTEGER_BYTES * sizes.kept + second, places.exponentials)
    made = (np.zeros(len(elements)), places.never)
    return _took(systems, np.maximum(2.0 * passed * elements, issued), (read,), made)
