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
from perfsage.features.npu_fetch import Moved, moved, stored
from perfsage.features.npu_geometry import GEOMETRIES, Geometry
from perfsage.features.npu_pace import block_cycles
from perfsage.features.npu_streams import elements_u55, elements_u85
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
    round_up,
)

Float64 = NDArray[np.float64]
COSTS = (
    *("cycles", "cycles_direct", "near", "near_alone", "far", "far_alone", "scale"),
    *("readings", "depth", "elements"),
)
"""Columns of `npu_costs`: cycles with scales and biases from SRAM and from where constants are, bytes as in
`npu_fetch`, how often weights are read, the channels of a block, and how many weights there are with their
padding."""
_BATCHED = COSTS.index("readings")
FEW_SLICES = 2.0
SUMMED, SUMMED_BLOCK = 0.45, 170.0
"""Cycles of an element and of a block, fitted to Vela on four shapes."""
_REMEMBERED = 1 << 17
_known: dict[bytes, Float64] = {}
"""Cycles by what there is to do: networks repeat operators, and those of one search each other's."""


def npu_costs(work: Work) -> Float64:
    """Return float64[n, len(COSTS), len(GEOMETRIES)]; 0 for views."""
    places: dict[bytes, int] = {}
    which = np.array([places.setdefault(key, len(places)) for key in work.row_keys()])
    costs: Float64 = _remembered(work, list(places), np.unique(which, return_index=True)[1])[which]
    costs[:, :_BATCHED] *= work.batch[:, None, None]
    costs[:, -1] *= work.groups[:, None]
    return costs


def _remembered(work: Work, keys: list[bytes], rows: NDArray[np.int64]) -> Float64:
    """Return the costs of each key, whose work is in that row, float64[keys, costs, accelerators]."""
    # What is found is held here as well: another thread may make room in the meantime.
    found = [_known.get(key) for key in keys]
    missing = [place for place, costs in enumerate(found) if costs is None]
    if missing:
        made = _estimate(work.take(rows[missing]))
        if len(_known) + len(missing) > _REMEMBERED:
            _known.clear()
        for place, costs in zip(missing, made, strict=True):
            _known[keys[place]] = found[place] = costs
    return np.stack([costs for costs in found if costs is not None])


def _estimate(work: Work) -> Float64:
    """Return what `npu_costs` gives, without its memory and for one of each batch."""
    made = np.zeros((len(work), len(COSTS), len(GEOMETRIES)))
    busy = np.flatnonzero(work.kind != NOTHING)
    if len(busy):
        old = work.take(busy)
        new = old.for_u85()
        shared: dict[tuple[object, ...], Blocks] = {}
        for position, geometry in enumerate(GEOMETRIES):
            if geometry.generation == 85:
                made[busy, :, position] = _costs_u85(new, geometry) * (new.kind != NOTHING)[:, None]
            else:
                made[busy, :, position] = _costs_u55(old, geometry, shared)
    return made


def _costs_u55(work: Work, geometry: Geometry, shared: dict[tuple[object, ...], Blocks]) -> Float64:
    """Return the columns of COSTS on one accelerator; `shared` holds blocks of equal buffers."""
    key = (geometry.microblocks, geometry.banks, geometry.cores)
    blocks = shared[key] if key in shared else shared.setdefault(key, choose_blocks(work, geometry))
    bytes_moved = moved(work, geometry, blocks)
    element = _element_cycles(work, geometry)
    blocked = _cycles_u55(work, geometry, element, blocks, bytes_moved)
    products = _products_of_two(work, geometry, element)
    micro_h, micro_w, micro_c = geometry.microblocks[0]
    copied = ceil_div(work.in_h, micro_h) * ceil_div(work.in_w, micro_w) * ceil_div(work.in_c, micro_c) * 4.0
    kinds = [work.kind == PRODUCT, work.kind == TRANSPOSED]
    streamed = _unblocked(work, geometry, element, blocked, blocks, bytes_moved)
    kinds = [kind[:, None] for kind in kinds]
    cycles = np.select(kinds, [products[:, None], copied[:, None]], streamed)
    return _columns(work, blocks, cycles, bytes_moved, elements_u55(work, geometry, blocks.part_kernel))


def _costs_u85(work: Work, geometry: Geometry) -> Float64:
    part_kernel = (work.kind == CONVOLUTION) & work.kernel_first_u85
    micro = microblocks_u85(work, geometry, part_kernel)
    blocks = choose_blocks_u85(work, geometry, micro, part_kernel)
    bytes_moved = moved(work, geometry, blocks, round_up(micro[:, 2], 16.0))
    element = _element_cycles(work, geometry) + work.chained * geometry.output_cycles[0]
    blocked = cycles_u85(work, geometry, element, blocks, micro, bytes_moved)
    cycles = _unblocked(work, geometry, element, blocked, blocks, bytes_moved)
    return _columns(work, blocks, cycles, bytes_moved, elements_u85(work, geometry, micro, blocks))


def _columns(work: Work, blocks: Blocks, cycles: Float64, bytes_moved: Moved, elements: Float64) -> Float64:
    """Return the columns of COSTS; what is read once is not copied unless it comes in several slices."""
    direct = (bytes_moved.readings <= 1) & (work.out_c <= FEW_SLICES * blocks.depth)
    cycles = np.where(direct[:, None], cycles[:, 1:], cycles)
    scales = bytes_moved.scales * bytes_moved.readings
    memory = (bytes_moved.near, bytes_moved.near_alone, bytes_moved.far, bytes_moved.far_alone, scales)
    each = np.column_stack([cycles, *memory]) * work.passes[:, None]
    return np.column_stack([each, bytes_moved.readings, blocks.depth, elements])


def _products_of_two(work: Work, geometry: Geometry, element: Float64) -> Float64:
    """A product of two tensors is a multiplication and a sum for each column; U65 sums through DRAM."""
    rows = work.out_h * work.out_w * work.in_c
    if geometry.generation == 65 and geometry.far.is_dram:
        blocks = ceil_div(work.out_h, 2.0) * ceil_div(work.out_w, 4.0)
        return np.asarray((SUMMED * rows + SUMMED_BLOCK * blocks) * work.out_c)
    return np.asarray(rows * work.out_c * 1.125 * element)


def _unblocked(
    work: Work,
    geometry: Geometry,
    element: Float64,
    blocked: Float64,
    blocks: Blocks,
    bytes_moved: Moved,
) -> Float64:
    """Return `blocked`, with what goes element by element in its place."""
    channels = np.where(work.out_c == 1, 1.0, stored(work.out_c, work.target))
    elements = work.out_h * work.out_w * channels
    # Commands for a fourth of a block's transfers have to be issued in the meantime.
    block = np.maximum(bytes_moved.enter, bytes_moved.leave) / (blocks.height * blocks.width * blocks.depth)
    streamed = elements * np.maximum(element, (block + element) / 4.0)
    rows = work.out_h * work.out_w
    each, row, once = geometry.softmax
    softmax = (each * work.out_c + row) * rows + once
    kinds = [(work.kind == kind)[:, None] for kind in (ELEMENTWISE, SOFTMAX)]
    return np.select(kinds, [streamed[:, None], softmax[:, None]], blocked)


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


def _cycles_u55(
    work: Work, geometry: Geometry, element: Float64, blocks: Blocks, bytes_moved: Moved
) -> Float64:
    """Parts of blocks count as whole microblocks; a block takes as long as its products or its outputs."""
    height, width = np.minimum(blocks.height, work.out_h), np.minimum(blocks.width, work.out_w)
    depth = np.minimum(blocks.depth, work.out_c)
    block = _in_microblocks(work, geometry, height, width, depth, blocks)
    whole = _in_microblocks(work, geometry, work.out_h, work.out_w, work.out_c, blocks)
    products = _products(work, geometry, block)
    products *= np.where(work.is_matrix, ceil_div(work.in_c, np.maximum(block.step, 1.0)), 1.0)
    products = np.floor(products / geometry.cores)
    outputs = np.ceil(element * height * width * depth)
    count = whole.area * whole.slices / (block.area * block.slices)
    return block_cycles(work, geometry, products, outputs, depth, count, bytes_moved)


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
