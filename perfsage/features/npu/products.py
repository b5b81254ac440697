"""Products of two tensors on U55 and U65, which have no unit for them: a multiplication and a sum a column.

For every column of the result the first operand is multiplied by it, element by element, into integers of
32 bits, and these are summed over channels. The formulas are those of Vela 5 (`EstimateMatMulCycles`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfsage.features.npu.blocks import Blocks, choose_blocks, integer_blocks
from perfsage.features.npu.bursts import burst_waste
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.integers import Costs
from perfsage.features.npu.pace import paced
from perfsage.features.npu.systems import MemoryRows, systems_of
from perfsage.features.npu.work import ELEMENTWISE, INTEGER_BYTES, PRODUCT, Float64, Work, ceil_div

_MOST_HEIGHT, _MOST_WIDTH, _LEAST_WIDTH = 32, 64, 4
_WRITTEN = 64.0
"""Bytes that are written in a row where channels do not fill a block."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where operands, integers and results are: memories as rows, and the bytes read in a row."""

    source: MemoryRows
    between: MemoryRows
    target: MemoryRows


def product_costs(work: Work, geometry: Geometry) -> Costs:
    """Return what products of two tensors take on U55 or U65."""
    places, narrow = _places(work, geometry), _narrowed(work)
    multiplied, summed = (
        choose_blocks(narrow, geometry),
        integer_blocks(_summed(narrow), geometry, streamed=False),
    )
    columns, rows = work.out_c, work.out_h * work.out_w * work.in_c
    each = _multiplications(work, geometry, multiplied, places)
    each += _sums(work, geometry, summed, places)
    read = rows * columns * burst_waste(places.source.burst, _read_run(work, summed))
    written = work.out_h * work.out_w * work.out_c
    written = written * burst_waste(places.target.burst, summed.depth)
    second = work.second_h * work.second_w * work.second_c
    moved = [(places.source, read), (places.between, 2.0 * rows * columns), (places.target, written)]
    near = second + sum(np.where(place.is_dram, 0.0, count) for place, count in moved)
    far = sum(np.where(place.is_dram, count, 0.0) for place, count in moved)
    waited = np.maximum(near / geometry.near.rate, far / geometry.edge.rate)
    return Costs(np.maximum(each * columns, waited), near, np.asarray(far))


def _places(work: Work, geometry: Geometry) -> _Places:
    """Integers in between are in DRAM where there is any, as what enters and leaves is."""
    systems = systems_of((geometry,), 2)
    both = MemoryRows(
        *(
            np.stack([getattr(systems.near, name)[0], getattr(systems.edge, name)[0]])
            for name in MemoryRows.__dataclass_fields__
        )
    )
    enters, leaves = (work.source == EDGE).astype(np.int64), (work.target == EDGE).astype(np.int64)
    return _Places(both.take(enters), both.take(np.ones_like(enters)), both.take(leaves))


def _narrowed(work: Work) -> Work:
    """Return the multiplication that blocks are chosen for: narrow enough for two or three blocks."""
    width = work.out_w
    fits = (work.out_h <= _MOST_HEIGHT) & (width <= _MOST_WIDTH)
    parts = np.where(width >= 3 * _LEAST_WIDTH, 3.0, np.where(width >= 2 * _LEAST_WIDTH, 2.0, 1.0))
    width = ceil_div(width, np.where(fits, parts, 1.0))
    kind = np.full_like(work.kind, ELEMENTWISE)
    return replace(work, kind=kind, out_w=width, in_w=width, out_c=work.in_c, in_h=work.out_h)


def _summed(narrow: Work) -> Work:
    return replace(narrow, kind=np.full_like(narrow.kind, PRODUCT), out_c=np.ones(len(narrow)))


def _read_run(work: Work, blocks: Blocks) -> Float64:
    """Return the bytes of the first operand that are read in a row."""
    whole = work.in_c == blocks.input_depth
    run = np.where(whole, blocks.input_depth * blocks.input_width, blocks.input_depth)
    return np.where(work.source == BRICKS, BRICK * blocks.input_width, run)


def _cycles(memory: MemoryRows, bytes_: Float64, run: Float64, latency: Float64) -> Float64:
    return np.asarray(latency + np.floor(bytes_ * burst_waste(memory.burst, run) / memory.rate))


def _multiplications(work: Work, geometry: Geometry, blocks: Blocks, places: _Places) -> Float64:
    """Return the cycles of one column's multiplications."""
    elements = work.out_h * work.out_w * work.in_c
    height, width = np.minimum(blocks.height, work.out_h), np.minimum(blocks.width, work.out_w)
    count = height * width * np.minimum(blocks.depth, work.in_c)
    source, between = places.source, places.between
    enter = _cycles(source, count, _read_run(work, blocks), source.read_latency)
    run = np.minimum(_WRITTEN, blocks.depth * INTEGER_BYTES)
    leave = _cycles(between, count * INTEGER_BYTES, run, between.write_latency)
    each = geometry.integer_cycles.product
    moved = np.maximum(enter, leave) / (blocks.height * blocks.width * blocks.depth)
    return np.ceil(elements * np.maximum(each, (moved + each) / 4.0))


def _sums(work: Work, geometry: Geometry, blocks: Blocks, places: _Places) -> Float64:
    """Return the cycles of one column's sums."""
    micro_h, micro_w, micro_c = geometry.microblocks[0]
    height, width = np.minimum(blocks.height, work.out_h), np.minimum(blocks.width, work.out_w)
    area = ceil_div(height, micro_h) * ceil_div(width, micro_w)
    count = ceil_div(work.out_h, micro_h) * ceil_div(work.out_w, micro_w) / area
    depth = np.minimum(blocks.input_depth, work.in_c)
    wait = np.where(area == 1, 3.0 if geometry.macs == 32 else 2.0, 0.0)
    products = (np.maximum(4.0 * micro_c, 4.0 * area) + wait) * ceil_div(work.in_c, depth)
    outputs = np.ceil(geometry.output_cycles[-1] * height * width)
    high = np.minimum(blocks.input_elements / (blocks.input_width * blocks.input_depth), work.out_h)
    read = high * np.minimum(blocks.input_width, work.out_w) * depth
    between, target = places.between, places.target
    enter = _cycles(between, read, _read_run(work, blocks), between.read_latency)
    leave = _cycles(target, height * width, blocks.depth, target.write_latency)
    return np.floor(paced(np.floor(products / geometry.cores), outputs, count, enter, leave))
