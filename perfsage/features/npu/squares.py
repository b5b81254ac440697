"""Squared differences, which Vela makes of casts to 32 bits, four multiplications and a subtraction.

Both operands become integers and are scaled, subtracted, squared and scaled back. What has fewer than
four dimensions is copied on U55 and U65, by an addition of zeros, since the compiler mixes both forms. U85
does each step but two while the one before it is on its way out. See `RewriteSquaredDifference` in Vela 5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.blocks import Blocks, choose_blocks, integer_blocks
from perfsage.features.npu.blocks_u85 import choose_blocks_u85
from perfsage.features.npu.bursts import MOST_WRITTEN
from perfsage.features.npu.cycles_u55 import cycles_u55
from perfsage.features.npu.cycles_u85 import cycles_u85, microblocks_u85
from perfsage.features.npu.fetch import moved, stored
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE, LINEAR
from perfsage.features.npu.geometry import GEOMETRIES, Geometry
from perfsage.features.npu.integers import Costs
from perfsage.features.npu.systems import systems_of
from perfsage.features.npu.work import ELEMENTWISE, INTEGER_BYTES, POOLING, Float64, Work

_ONES = ("kernel_h", "kernel_w", "stride_h", "stride_w", "span_h", "span_w", "passes")
_SCALED = [2.0 * g.integer_cycles.chained if g.generation == 85 else g.integer_cycles.two for g in GEOMETRIES]
Sides = tuple[Float64, Float64, Float64]


def square_costs(work: Work, geometry: Geometry) -> Costs:
    """Return what squared differences take on one accelerator."""
    first, second = (work.in_h, work.in_w, work.in_c), (work.second_h, work.second_w, work.second_c)
    whole = (work.out_h, work.out_w, work.out_c)
    out = whole[0] * whole[1] * stored_channels(whole[2], work.target)
    if geometry.generation == 85:
        return _chained(work, geometry, first, second, out)
    each = geometry.integer_cycles.two
    rate = geometry.near.rate
    cycles = np.zeros(len(work))
    near = np.zeros(len(work))
    for sides in (first, second):
        cycles += _cast(work, geometry, sides, geometry.output_cycles[-1])
        plain, bricks = _elements(sides, LINEAR), _elements(sides, BRICKS)
        moved_bytes = INTEGER_BYTES * (plain + bricks)
        cycles += np.maximum(each * bricks, moved_bytes / rate)
        near += moved_bytes + (1.0 + INTEGER_BYTES) * plain
    bricks, plain = _elements(whole, BRICKS), _elements(whole, LINEAR)
    # The subtraction and the square read two integers and write one.
    cycles += 2.0 * np.maximum(each * bricks, 3.0 * INTEGER_BYTES * bricks / rate)
    zeros = np.where(work.flat, INTEGER_BYTES * plain * _zeros_waste(work, geometry), 0.0)
    cycles += np.where(work.flat, np.maximum(each * bricks, zeros / geometry.far.rate), 0.0)
    cycles += np.maximum(each * out, (INTEGER_BYTES * bricks + out) / rate)
    near += 7.0 * INTEGER_BYTES * bricks + out + np.where(work.flat, 2.0 * INTEGER_BYTES * bricks, 0.0)
    return Costs(cycles, near, zeros)


def _chained(work: Work, geometry: Geometry, first: Sides, second: Sides, out: Float64) -> Costs:
    """On U85 a cast, its scaling and the subtraction are one operator, and the square and its scaling."""
    cycles = geometry.integer_cycles
    made = _cast(work, geometry, first, 2.0 * cycles.chained + cycles.two)
    made += _cast(work, geometry, second, cycles.chained + cycles.two)
    bricks = _elements((work.out_h, work.out_w, work.out_c), BRICKS)
    read = _elements(first, LINEAR) + (1.0 + 2.0 * INTEGER_BYTES) * _elements(second, LINEAR)
    read_last = 2.0 * INTEGER_BYTES * bricks
    waited = np.maximum(read_last + out, read_last * geometry.near.reading) / geometry.near.rate
    made += np.maximum(2.0 * cycles.chained * bricks, waited)
    return Costs(made, read + 3.0 * INTEGER_BYTES * bricks + out, np.zeros(len(work)))


def scaled_squares(work: Work) -> Float64:
    """Return the cycles of what comes last, float64[n, d]: U85 squares integers as it scales them."""
    elements = _elements((work.out_h, work.out_w, work.out_c), BRICKS)
    return np.asarray(elements[:, None] * _SCALED)


def _zeros_waste(work: Work, geometry: Geometry) -> Float64:
    """Return how many bytes of zeros are moved for each that is read: blocks may have few channels."""
    blocks = integer_blocks(replace(work, kind=np.full_like(work.kind, ELEMENTWISE)), geometry, streamed=True)
    return geometry.far.burst / np.minimum(geometry.far.burst, INTEGER_BYTES * blocks.depth)


def stored_channels(channels: Float64, formats: NDArray[np.int64]) -> Float64:
    """Return how many channels there are with padding: a single one has none."""
    return np.where(channels == 1, 1.0, stored(channels, formats))


def _elements(sides: Sides, kind: int) -> Float64:
    formats = np.full(len(sides[0]), kind)
    return np.asarray(sides[0] * sides[1] * stored_channels(sides[2], formats))


def _cast(work: Work, geometry: Geometry, sides: Sides, element: float) -> Float64:
    """Return the cycles of a copy to integers, which take so many cycles an `element`."""
    none = np.zeros(len(work), dtype=np.bool_)
    copied = _copy(work, _laid_out(sides))
    systems, each = systems_of((geometry,), len(work)), np.full(len(work), element)
    if geometry.generation == 85:
        micro = microblocks_u85(copied, geometry)
        blocks = choose_blocks_u85(copied, geometry, micro, none)
    else:
        blocks = choose_blocks(copied, geometry)
    bytes_moved = moved(copied, systems, blocks)
    bytes_moved = replace(bytes_moved, leave=_leave(copied, geometry, blocks))
    if geometry.generation == 85:
        return np.asarray(cycles_u85(copied, systems, each, blocks, micro, bytes_moved)[:, 0])
    return np.asarray(cycles_u55(copied, systems, each, blocks, bytes_moved)[:, 0])


def _copy(work: Work, sides: Sides) -> Work:
    """Return copies of images with these sides."""
    ones, none = np.ones(len(work)), np.zeros(len(work), dtype=np.bool_)
    columns: dict[str, Any] = dict.fromkeys(_ONES, ones)
    columns |= dict.fromkeys(("table", "clamped", "binary"), none)
    columns |= {f"{end}_{axis}": sides[place] for end in ("in", "out") for place, axis in enumerate("hwc")}
    return replace(
        work,
        **columns,
        kind=np.full_like(work.kind, POOLING),
        copied=~none,
        chained=np.zeros(len(work)),
        source=np.where(work.source == EDGE, EDGE, LINEAR),
        target=np.full_like(work.target, LINEAR),
        target_spill=np.zeros_like(work.target_spill),
    )


def _laid_out(sides: Sides) -> Sides:
    """Return sides with the elements of a single channel as channels."""
    single = sides[2] == 1
    height, width = (np.where(single, 1.0, side) for side in sides[:2])
    return height, width, np.where(single, sides[0] * sides[1], sides[2])


def _leave(work: Work, geometry: Geometry, blocks: Blocks) -> Float64:
    """Return the cycles until the last block of integers is written.

    On U85 others are chained to it: it has no place of its own, and stays planned in bricks where images are.
    """
    written = np.minimum(blocks.height, work.out_h) * np.minimum(blocks.width, work.out_w)
    written = written * np.minimum(blocks.depth, work.out_c) * INTEGER_BYTES
    memory, run = geometry.near, np.minimum(MOST_WRITTEN, INTEGER_BYTES * blocks.depth)
    if geometry.generation == 85:
        memory, run = geometry.edge, INTEGER_BYTES * BRICK * blocks.width
    return memory.write_latency + np.floor(
        written * memory.burst / np.minimum(memory.burst, run) / memory.rate
    )
