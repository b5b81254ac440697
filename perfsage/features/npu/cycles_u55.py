"""Cycles that Ethos-U55 and U65 take for blocks of outputs, by Arm's own estimate (see `cycles`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.fetch import Moved
from perfsage.features.npu.pace import block_cycles
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import CONVOLUTION, DEPTHWISE, POOLING, Float64, Work, ceil_div, kernel_parts


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


def cycles_u55(work: Work, systems: Systems, element: Float64, blocks: Blocks, bytes_moved: Moved) -> Float64:
    """Parts of blocks count as whole microblocks; a block takes as long as its products or its outputs."""
    height, width = np.minimum(blocks.height, work.out_h), np.minimum(blocks.width, work.out_w)
    depth = np.minimum(blocks.depth, work.out_c)
    block = _in_microblocks(work, systems, height, width, depth, blocks)
    whole = _in_microblocks(work, systems, work.out_h, work.out_w, work.out_c, blocks)
    products = _products(work, systems, block)
    products *= np.where(work.is_matrix, ceil_div(work.in_c, np.maximum(block.step, 1.0)), 1.0)
    products = np.floor(products / systems.cores)
    outputs = np.ceil(element * height * width * depth)
    count = whole.area * whole.slices / (block.area * block.slices)
    return block_cycles(work, systems, products, outputs, depth, count, bytes_moved)


def _in_microblocks(
    work: Work, systems: Systems, height: Float64, width: Float64, depth: Float64, blocks: Blocks
) -> _Block:
    micro_h, micro_w, micro_c = systems.micro.T
    # Accelerators of 256 lay a single row out as one of 1 by 4 where they can.
    row = (work.kind == CONVOLUTION) & (work.out_h == 1) & (work.out_w % 2 == 0) & (work.kernel_h == 1)
    single = row & (micro_h == 2)
    rows = np.where(single, 1.0, ceil_div(height, micro_h))
    return _Block(
        area=rows * ceil_div(width, np.where(single, 4, micro_w)),
        slices=ceil_div(depth, micro_c),
        step=np.minimum(blocks.input_depth, work.in_c),
        part_kernel=blocks.part_kernel,
    )


def _products(work: Work, systems: Systems, block: _Block) -> Float64:
    """Return the cycles of the products of one block, over the parts of the kernel."""
    total = np.zeros(len(work))
    for part_w, times_w in kernel_parts(work.kernel_w):
        for part_h, times_h in kernel_parts(work.kernel_h):
            cycles = _part(work, systems, np.maximum(part_w * part_h, 1.0), block)
            total += cycles * times_w * times_h
    return total


def _part(work: Work, systems: Systems, elements: Float64, block: _Block) -> Float64:
    """Return the cycles of a part of the kernel with so many elements."""
    write_back = 4.0 * systems.micro[:, 2]
    eights = np.where(block.part_kernel, ceil_div(block.step, 8), 1.0)
    steps = np.where((work.kind == DEPTHWISE) | block.part_kernel, ceil_div(elements, 4), elements)
    steps = np.where(work.kind == POOLING, 1.0, steps)
    cycles = np.maximum(write_back, 4.0 * block.area) * block.slices * steps * eights
    slow = np.where(systems.macs > 32, 4.0, 1.0)
    pooled = np.maximum(4.0, elements) * block.area * block.slices * slow
    cycles = np.where(work.kind == POOLING, pooled, cycles)
    # Where one microblock follows itself, its sums have to be awaited.
    pause = np.where(systems.macs == 32, 3.0, 2.0)
    wait = np.where(block.slices == 1, pause * steps, pause * (steps - 1) * block.slices)
    return np.asarray(cycles + np.where(block.area == 1, wait, 0.0) * eights)
