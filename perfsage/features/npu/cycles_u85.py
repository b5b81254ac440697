"""Cycles that Ethos-U85 takes for blocks of outputs, by Arm's own estimate (see `cycles`)."""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.fetch import Moved
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.pace import block_cycles
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import (
    CONVOLUTION,
    DEPTHWISE,
    POOLING,
    PRODUCT,
    Float64,
    Work,
    ceil_div,
    kernel_parts,
    round_up,
)

OWN_DEPTH = 16


def cycles_u85(
    work: Work,
    systems: Systems,
    element: Float64,
    blocks: Blocks,
    micro: Float64,
    bytes_moved: Moved,
) -> Float64:
    """Parts of blocks count as whole microblocks; a block takes as long as its products or its outputs."""
    height, width = np.minimum(blocks.height, work.out_h), np.minimum(blocks.width, work.out_w)
    depth = np.minimum(blocks.depth, work.out_c)
    area = ceil_div(height, micro[:, 0]) * ceil_div(width, micro[:, 1])
    slices = ceil_div(depth, micro[:, 2])
    all_area = ceil_div(work.out_h, micro[:, 0]) * ceil_div(work.out_w, micro[:, 1])
    count = all_area * ceil_div(work.out_c, micro[:, 2]) / (area * slices)
    products = _products_u85(work, systems, blocks, micro, area, slices)
    outputs = np.ceil(element * height * width * depth)
    return block_cycles(work, systems, products, outputs, depth, count, bytes_moved)


def _products_u85(
    work: Work, systems: Systems, blocks: Blocks, micro: Float64, area: Float64, slices: Float64
) -> Float64:
    """Return the cycles of the products of one block, over the parts of the kernel."""
    step = np.minimum(blocks.input_depth, work.in_c)
    eights = np.where(blocks.part_kernel, ceil_div(step, 8), 1.0)
    write_back = 4.0 * micro[:, 2] / systems.cores
    total = np.zeros(len(work))
    for part_w, times_w in kernel_parts(work.kernel_w):
        for part_h, times_h in kernel_parts(work.kernel_h):
            elements = np.maximum(part_w * part_h, 1.0)
            by_four = (work.kind == DEPTHWISE) | blocks.part_kernel
            steps = np.where(by_four, ceil_div(elements, 4), np.where(work.kind == POOLING, 1.0, elements))
            once = np.where(by_four, 4.0, np.floor(step / 8)) * area
            cycles = np.maximum(write_back, once) * steps * slices
            pooled = np.maximum(4.0, elements) * area * slices * 4.0
            cycles = np.where(work.kind == POOLING, pooled, np.where(work.sparse, cycles / 2.0, cycles))
            wait = np.where(slices == 1, 2.0 * steps, 2.0 * (steps - 1) * slices)
            total += (cycles + np.where(area == 1, wait, 0.0)) * eights * times_w * times_h
    return total * np.where(work.is_matrix, ceil_div(work.in_c, np.maximum(step, 1.0)), 1.0)


def microblocks_u85(work: Work, geometry: Geometry) -> Float64:
    """Return float64[n, 3]: the first microblock with the least waste."""
    shapes = np.asarray(geometry.microblocks, dtype=np.float64)
    waste = (
        round_up(work.out_h[:, None], shapes[:, 0])
        * round_up(work.out_w[:, None], shapes[:, 1])
        * round_up(work.out_c[:, None], shapes[:, 2])
    )
    if geometry.macs != 512:
        # What sums over no channels has a microblock for itself; smaller ones use it for arithmetic as well.
        own = shapes[:, 2] == OWN_DEPTH
        alone = (work.kind == DEPTHWISE) | (work.kind == POOLING)
        barred = (work.kind == PRODUCT) | ((work.kind == CONVOLUTION) & (geometry.macs <= 256))
        allowed = np.where(alone[:, None], own, ~(barred[:, None] & own))
        waste = np.where(allowed, waste, np.inf)
    return np.asarray(shapes[waste.argmin(axis=1)])
