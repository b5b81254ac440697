"""What operators take on the accelerators of one generation, block by block: U55 and U65, or U85."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from perfsage.features.npu.blocks import Blocks, choose_blocks, laid_end_to_end, shared_blocks
from perfsage.features.npu.cycles_u55 import cycles_u55
from perfsage.features.npu.cycles_u85 import cycles_u85, microblocks_u85
from perfsage.features.npu.fetch import Moved, moved, stored
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.integers import TIMES
from perfsage.features.npu.softmax_u55 import softmax_u55
from perfsage.features.npu.softmax_u85 import softmax_u85
from perfsage.features.npu.streams import SCALES_AT_ONCE, elements_u55, elements_u85
from perfsage.features.npu.systems import Systems, systems_of
from perfsage.features.npu.transposes import choose_blocks_straight, untransposed
from perfsage.features.npu.work import (
    BY_KERNEL,
    CONVOLUTION,
    ELEMENTWISE,
    NOTHING,
    POOLING,
    SOFTMAX,
    TRANSPOSED,
    Float64,
    Work,
    ceil_div,
    round_up,
)


def costs_u55(work: Work, geometries: tuple[Geometry, ...]) -> Float64:
    """Return the columns of COSTS on U55 and U65, float64[n, accelerators, costs]."""
    # Blocks of a transpose are those of its input.
    straight = untransposed(work, TRANSPOSED)[0]
    found = shared_blocks(straight, geometries, choose_blocks)
    once = work
    systems, blocks, work = _spread(work, found, geometries)
    bytes_moved = moved(work, systems, blocks)
    element = _element_cycles(work, systems)
    blocked = cycles_u55(work, systems, element, blocks, bytes_moved)
    streamed = _unblocked(work, systems, element, blocked[:, : len(TIMES)], blocks, bytes_moved)
    # A transpose takes as long as its reading or its writing.
    near = np.maximum(bytes_moved.enter, bytes_moved.leave)
    far = np.maximum(bytes_moved.enter_far, bytes_moved.leave_far)
    copied = np.stack([near, near, far, far], axis=1)
    cycles = np.where((work.kind == TRANSPOSED)[:, None], copied, streamed)
    cycles, bytes_moved = _with_softmaxes(once, cycles, bytes_moved, geometries, softmax_u55)
    elements = elements_u55(work, systems, blocks.part_kernel)
    return _by_operator(
        _columns(work, blocks, cycles, blocked[:, len(TIMES) :], bytes_moved, elements), len(found)
    )


def costs_u85(work: Work, geometries: tuple[Geometry, ...]) -> Float64:
    """Return the same on U85; 0 for what it does while another operator writes."""
    part_kernel = (work.kind == CONVOLUTION) & work.kernel_first_u85
    # Blocks of a transpose are those of its input, and count by the sides of its output all the same.
    straight, becoming = untransposed(work, POOLING)
    # Blocks are those of stripes where an operator is worked off in stripes.
    striped = [straight.stripe(geometry.spill) for geometry in geometries]
    micros = [microblocks_u85(each, geometry) for each, geometry in zip(striped, geometries, strict=True)]
    found = [
        choose_blocks_straight(each, becoming, geometry, micro, part_kernel)
        for each, geometry, micro in zip(striped, geometries, micros, strict=True)
    ]
    micro = np.concatenate(micros)
    once = work
    systems, blocks, work = _spread(work, found, geometries)
    elements = elements_u85(work, systems, micro, blocks)
    if (work.far == BY_KERNEL).any():
        work = _block_by_block(work, blocks)
    bytes_moved = moved(work, systems, blocks, round_up(micro[:, 2], SCALES_AT_ONCE))
    element = _element_cycles(work, systems) + work.chained * systems.output_cycles[:, 0]
    blocked = cycles_u85(work, systems, element, blocks, micro, bytes_moved)
    cycles = _unblocked(work, systems, element, blocked[:, : len(TIMES)], blocks, bytes_moved)
    cycles, bytes_moved = _with_softmaxes(once, cycles, bytes_moved, geometries, softmax_u85)
    columns = _columns(work, blocks, cycles, blocked[:, len(TIMES) :], bytes_moved, elements, micro[:, 2])
    return _by_operator(columns * (work.kind != NOTHING)[:, None], len(found))


def _block_by_block(work: Work, blocks: Blocks) -> Work:
    """Finish each block before the next one where parts of a kernel come one by one: its sums stay.

    Blocks are chosen for all of the image, and each element of the kernel then finds its inputs side by side.
    """
    apart = work.far == BY_KERNEL
    area, count = {}, np.ones(len(work))
    for axis, size in (("h", blocks.height), ("w", blocks.width), ("c", blocks.depth)):
        out = getattr(work, f"out_{axis}")
        pieces = np.where(apart, ceil_div(out, np.maximum(size, 1.0)), 1.0)
        area[f"out_{axis}"] = out / pieces
        if axis != "c":
            area[f"in_{axis}"] = np.where(apart, area[f"out_{axis}"], getattr(work, f"in_{axis}"))
        count *= pieces
    return replace(work, passes=work.passes * count, **area)


def _spread(
    work: Work, blocks: list[Blocks], geometries: tuple[Geometry, ...]
) -> tuple[Systems, Blocks, Work]:
    """Return rows for each operator on each accelerator, one accelerator after the other."""
    count = len(work)
    return (
        systems_of(geometries, count),
        laid_end_to_end(blocks),
        work.take(np.tile(np.arange(count), len(blocks))),
    )


def _by_operator(columns: Float64, accelerators: int) -> Float64:
    """Return float64[n, accelerators, costs] of rows for one accelerator after the other."""
    return np.asarray(columns.reshape(accelerators, -1, columns.shape[1]).swapaxes(0, 1))


def _columns(
    work: Work,
    blocks: Blocks,
    cycles: Float64,
    parts: Float64,
    bytes_moved: Moved,
    elements: Float64,
    micro: Float64 | float = 1.0,
) -> Float64:
    """Return the columns of COSTS, of which `parts` are products, outputs and blocks."""
    scales = bytes_moved.scales * bytes_moved.readings
    memory = (bytes_moved.near, bytes_moved.near_alone, bytes_moved.far, bytes_moved.far_alone, scales)
    each = np.column_stack([cycles, *memory, bytes_moved.input, parts]) * work.passes[:, None]
    ends = (bytes_moved.enter_far, bytes_moved.leave_far)
    micros = np.full(len(work), micro)
    return np.column_stack([each, *ends, bytes_moved.readings, blocks.depth, micros, elements])


def _unblocked(
    work: Work,
    systems: Systems,
    element: Float64,
    blocked: Float64,
    blocks: Blocks,
    bytes_moved: Moved,
) -> Float64:
    """Return `blocked`, with what goes element by element in its place."""
    channels = np.where(work.out_c == 1, 1.0, stored(work.out_c, work.target))
    elements = work.out_h * work.out_w * channels
    # Commands for a fourth of a block's transfers have to be issued in the meantime.
    volume = blocks.height * blocks.width * blocks.depth
    near = np.maximum(bytes_moved.enter, bytes_moved.leave) / volume
    far = np.maximum(bytes_moved.enter_far, bytes_moved.leave_far) / volume
    streamed = np.stack(
        [elements * np.maximum(element, (block + element) / 4.0) for block in (near, near, far, far)], axis=1
    )
    return np.where((work.kind == ELEMENTWISE)[:, None], streamed, blocked)


def _with_softmaxes(
    work: Work,
    cycles: Float64,
    bytes_moved: Moved,
    geometries: tuple[Geometry, ...],
    estimate: Callable[[Work, tuple[Geometry, ...]], Float64],
) -> tuple[Float64, Moved]:
    """Return `cycles` float64[accelerators * n, 4] and bytes, of softmaxes those that `estimate` says."""
    rows = np.flatnonzero(work.kind == SOFTMAX)
    if not len(rows):
        return cycles, bytes_moved
    took = estimate(work.take(rows), geometries)
    there = (np.arange(len(geometries))[:, None] * len(work) + rows).ravel()
    cycles[there] = took[0].reshape(-1, 1)
    near, far = bytes_moved.near.copy(), bytes_moved.far.copy()
    near[there], far[there] = took[1].ravel(), took[2].ravel()
    return cycles, replace(bytes_moved, near=near, far=far)


def _element_cycles(work: Work, systems: Systems) -> Float64:
    output = systems.output_cycles[np.arange(len(work)), work.output]
    after = np.where(work.table, systems.table_cycles, np.where(work.clamped, systems.relu_cycles, 0.0))
    return np.asarray(np.maximum(output, after))
