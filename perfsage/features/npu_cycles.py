"""Cycles that Ethos-U accelerators take for operators, by Arm's own estimate, before fusion and memory.

The estimate cuts the outputs into blocks, and a block takes as long as its products or its outputs, whichever
is more. U55 and U65 choose the block that fetches least (`npu_blocks`); U85 counts parts of blocks, so that
the choice hardly matters. The formulas are those of Vela 5 (`EstimateConvCycles` and what it calls), written
for many operators at once. Weights, direct memory access and cascades are not in it: predictors learn them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu_blocks import Blocks, choose_blocks
from perfsage.features.npu_blocks_u85 import choose_blocks_u85
from perfsage.features.npu_cycles_u85 import cycles_u85, microblocks_u85
from perfsage.features.npu_fetch import FETCHED, fetched_bytes, stored
from perfsage.features.npu_geometry import GEOMETRIES, Geometry
from perfsage.features.npu_work import (
    CONVOLUTION,
    DEPTHWISE,
    ELEMENTWISE,
    NOTHING,
    POOLING,
    PRODUCT,
    SOFTMAX,
    TRANSPOSED,
    Work,
    ceil_div,
    kernel_parts,
)

Float64 = NDArray[np.float64]
LATENCY = 64.0
U55_BYTES = 8.0
"""Cycles until the first byte is there and was written, and bytes a cycle, of the default memories."""
_REMEMBERED = 1 << 17
_known: dict[bytes, Float64] = {}
"""Cycles by what there is to do: networks repeat operators, and those of one search each other's."""


def npu_costs(work: Work) -> Float64:
    """Return float64[n, 1 + len(FETCHED), len(GEOMETRIES)]: cycles, then bytes; 0 for views."""
    keys = work.keys()
    # What is found is held here as well: another thread may make room in the meantime.
    found = {key: costs for key in keys if (costs := _known.get(key)) is not None}
    missing = {key: row for row, key in enumerate(keys) if key not in found}
    if missing:
        made = dict(zip(missing, _estimate(work.take(np.array(list(missing.values())))), strict=True))
        if len(_known) + len(made) > _REMEMBERED:
            _known.clear()
        _known.update(made)
        found.update(made)
    return np.asarray(np.stack([found[key] for key in keys]) * work.batch[:, None, None])


def _estimate(work: Work) -> Float64:
    """Return what `npu_costs` gives, without its memory and for one of each batch."""
    made = np.zeros((len(work), 1 + len(FETCHED), len(GEOMETRIES)))
    busy = np.flatnonzero(work.kind != NOTHING)
    if len(busy):
        old = work.take(busy)
        new = old.for_u85()
        shared: dict[tuple[object, ...], Blocks] = {}
        for position, geometry in enumerate(GEOMETRIES):
            if geometry.generation == 85:
                made[busy, :, position] = _costs_u85(new, geometry)
            else:
                made[busy, :, position] = _costs_u55(old, geometry, shared)
    return made


def _costs_u55(work: Work, geometry: Geometry, shared: dict[tuple[object, ...], Blocks]) -> Float64:
    """Return cycles and bytes on one accelerator, float64[n, 4]; `shared` holds blocks of equal buffers."""
    key = (geometry.microblocks, geometry.banks, geometry.cores)
    blocks = shared[key] if key in shared else shared.setdefault(key, choose_blocks(work, geometry))
    element = _element_cycles(work, geometry)
    blocked = _cycles_u55(work, geometry, element, blocks)
    # A product of two tensors is a multiplication and a sum for each of its columns.
    products = work.out_h * work.out_w * work.in_c * work.out_c * 1.125 * element
    micro_h, micro_w, micro_c = geometry.microblocks[0]
    moved = ceil_div(work.in_h, micro_h) * ceil_div(work.in_w, micro_w) * ceil_div(work.in_c, micro_c) * 4.0
    kinds = [work.kind == PRODUCT, work.kind == TRANSPOSED]
    cycles = np.select(kinds, [products, moved], _unblocked(work, geometry, element, blocked))
    return np.column_stack([cycles, fetched_bytes(work, geometry, blocks)]) * work.passes[:, None]


def _costs_u85(work: Work, geometry: Geometry) -> Float64:
    part_kernel = (work.kind == CONVOLUTION) & work.kernel_first_u85
    micro = microblocks_u85(work, geometry)
    blocks = choose_blocks_u85(work, geometry, micro, part_kernel)
    element = _element_cycles(work, geometry)
    cycles = _unblocked(work, geometry, element, cycles_u85(work, geometry, element, blocks, micro))
    return np.column_stack([cycles, fetched_bytes(work, geometry, blocks)]) * work.passes[:, None]


def _unblocked(work: Work, geometry: Geometry, element: Float64, blocked: Float64) -> Float64:
    """Return `blocked`, with what goes element by element in its place."""
    streamed = element * work.out_h * work.out_w * stored(work.out_c, work.target)
    rows = work.out_h * work.out_w
    each, row, once = geometry.softmax
    softmax = (each * work.out_c + row) * rows + once
    kinds = [work.kind == ELEMENTWISE, work.kind == SOFTMAX]
    return np.select(kinds, [streamed, softmax], blocked)


def _element_cycles(work: Work, geometry: Geometry) -> Float64:
    output = np.asarray(geometry.output_cycles)[work.output]
    after = np.where(work.table, geometry.table_cycles, np.where(work.clamped, geometry.relu_cycles, 0.0))
    return np.asarray(np.maximum(output, after))


@dataclass(frozen=True, slots=True)
class _Block:
    """One block of each operator, counted in microblocks; float64[n] unless named otherwise.

    `area` and `slices` are microblocks over the image and over channels, `step` the input channels that are
    multiplied at once, `part_kernel` bool[n] whether kernel elements are put side by side.
    """

    area: Float64
    slices: Float64
    step: Float64
    part_kernel: NDArray[np.bool_]


def _cycles_u55(work: Work, geometry: Geometry, element: Float64, blocks: Blocks) -> Float64:
    """Parts of blocks count as parts; a block takes as long as its products or its outputs."""
    height, width = np.minimum(blocks.height, work.out_h), np.minimum(blocks.width, work.out_w)
    depth = np.minimum(blocks.depth, work.out_c)
    block = _in_microblocks(work, geometry, height, width, depth, blocks)
    products = _products(work, geometry, block)
    products *= np.where(work.is_matrix, ceil_div(work.in_c, np.maximum(block.step, 1.0)), 1.0)
    products = np.floor(products / geometry.cores)
    outputs = np.floor(element * height * width * depth)
    fetched = np.minimum(blocks.input_elements, work.in_h * work.in_w * work.in_c)
    memory = LATENCY + (fetched + height * width * depth) / U55_BYTES
    floor = np.floor((memory + outputs + products) / 4.0)
    products, outputs = np.maximum(products, floor), np.maximum(outputs, floor)
    count = (work.out_h / height) * (work.out_w / width) * (work.out_c / depth)
    return np.asarray(np.maximum(products, outputs) * count + np.minimum(products, outputs) + memory)


def _in_microblocks(
    work: Work, geometry: Geometry, height: Float64, width: Float64, depth: Float64, blocks: Blocks
) -> _Block:
    micro_h, micro_w, micro_c = geometry.microblocks[0]
    # Accelerators of 256 lay a single row out as one of 1 by 4 where they can.
    row = work.is_matrix & (work.out_h == 1) & (work.out_w % 2 == 0) & (work.kernel_h == 1)
    single = row & (micro_h == 2)
    rows = np.where(single, 1.0, ceil_div(height, micro_h))
    return _Block(
        area=rows * ceil_div(width, np.where(single, 4, micro_w)),
        slices=ceil_div(depth, micro_c),
        step=np.minimum(blocks.input_depth, work.in_c),
        part_kernel=blocks.part_kernel,
    )


def _products(work: Work, geometry: Geometry, block: _Block) -> Float64:
    """Return the cycles of the products of one block, over the parts of the kernel."""
    total = np.zeros(len(work))
    for part_w, times_w in kernel_parts(work.kernel_w):
        for part_h, times_h in kernel_parts(work.kernel_h):
            cycles = _part(work, geometry, np.maximum(part_w * part_h, 1.0), block)
            total += cycles * times_w * times_h
    return total


def _part(work: Work, geometry: Geometry, elements: Float64, block: _Block) -> Float64:
    """Return the cycles of a part of the kernel with so many elements."""
    write_back = 4.0 * geometry.microblocks[0][2]
    eights = np.where(block.part_kernel, ceil_div(block.step, 8), 1.0)
    steps = np.where((work.kind == DEPTHWISE) | block.part_kernel, ceil_div(elements, 4), elements)
    steps = np.where(work.kind == POOLING, 1.0, steps)
    cycles = np.maximum(write_back, 4.0 * block.area) * block.slices * steps * eights
    pooled = np.maximum(4.0, elements) * block.area * block.slices * (4.0 if geometry.macs > 32 else 1.0)
    cycles = np.where(work.kind == POOLING, pooled, cycles)
    # Where one microblock follows itself, its sums have to be awaited.
    pause = 3.0 if geometry.macs == 32 else 2.0
    wait = np.where(block.slices == 1, pause * steps, pause * (steps - 1) * block.slices)
    return np.asarray(cycles + np.where(block.area == 1, wait, 0.0) * eights)
