"""How many bytes an NPU moves for each that it wants, since short runs waste the rest of a burst.

The formulas are those of Vela 5 (`EstimateMemoryTransfer`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import Flags, Float64, Work

MOST_WRITTEN = 64


def constant_waste(work: Work, burst: Float64 | float, blocks: Blocks) -> Float64:
    """Return how many bytes are moved for each byte of a constant that lies in rows."""
    whole = work.out_c == blocks.input_depth
    run = np.where(whole, blocks.input_depth * blocks.input_width, blocks.input_depth)
    return burst_waste(burst, run)


def burst_waste(burst: Float64 | float, run: Float64) -> Float64:
    """Return how many bytes are moved for each of those that lie in runs of so many."""
    return np.asarray(burst / np.minimum(burst, np.maximum(run, 1.0)))


def read_waste(work: Work, systems: Systems, blocks: Blocks, far: Flags) -> Float64:
    """Return how many bytes are moved for each that is read."""
    burst = np.where(far, systems.edge.burst, systems.near.burst)
    whole = work.in_c == blocks.input_depth
    run = np.where(whole, blocks.input_depth * blocks.input_width, blocks.input_depth)
    bricks = np.where(_is_stack(work.in_w, blocks.input_depth), blocks.input_depth, BRICK)
    run = np.where(work.source == BRICKS, bricks * blocks.input_width, run)
    return burst_waste(burst, run)


def mean_waste(work: Work, systems: Systems, blocks: Blocks, far: Flags, first: Float64) -> Float64:
    """Return the same of two tensors: the `first` one wastes so much, the second has its own format."""
    if not (work.beside_source != work.source).any():
        return first
    second = read_waste(replace(work, source=work.beside_source), systems, blocks, far)
    return np.asarray((first + work.smaller * second) / (1.0 + work.smaller))


def chained_waste(work: Work, systems: Systems, blocks: Blocks) -> Float64:
    """Return how many bytes are moved for each that is read from DRAM for what is done on the way out."""
    if not work.chained_far.any():
        return np.ones(len(work))
    rows = np.full(len(work), EDGE)
    outside = np.ones(len(work), dtype=np.bool_)
    return read_waste(replace(work, source=rows, in_c=work.out_c), systems, blocks, outside)


def _is_stack(width: Float64, depth: Float64) -> Flags:
    """Return where a row of bricks has as many bytes as a block has channels: Vela takes it for a run."""
    return np.asarray(width * BRICK == depth)


def write_waste(work: Work, systems: Systems, blocks: Blocks, far: Flags, larger: Float64 | float) -> Float64:
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
