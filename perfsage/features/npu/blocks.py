"""The block of outputs that Ethos-U55 and U65 work on at once: the one that fetches least (`search`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.search import (
    Candidates,
    Float32,
    Inputs,
    Space,
    candidates,
    cheapest,
    fetched,
    needed,
    volume,
)
from perfsage.features.npu.work import (
    CONVOLUTION,
    DEPTHWISE,
    ELEMENTWISE,
    INTEGER_BYTES,
    POOLING,
    Flags,
    Float64,
    Work,
    ceil_div,
    round_up,
)

MOST = (32, 64, 128)
BANK_BYTES = 1024
OUTPUT_BANKS = 2
SUM_BYTES = 4
GRANULE = 8
"""Sums are kept in the buffer for multiples of so many channels, inputs in multiples of so many bytes."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """One block an operator: float64[n], and `part_kernel` bool[n]."""

    height: Float64
    width: Float64
    depth: Float64
    input_depth: Float64
    input_width: Float64
    input_elements: Float64
    part_kernel: Flags


def choose_blocks(work: Work, geometry: Geometry) -> Blocks:
    """Return the cheapest block of each operator."""
    part_kernel = np.asarray((work.kind == CONVOLUTION) & work.kernel_first_u55)
    sizes = np.empty((3, len(work)))
    # What goes element by element needs no accumulators, so that more blocks fit.
    for streamed in (False, True):
        rows = np.flatnonzero((work.kind == ELEMENTWISE) == streamed)
        if len(rows):
            sizes[:, rows] = _search(work.those(rows), geometry, part_kernel[rows], streamed)
    return _blocks(work, geometry, sizes, part_kernel)


def shared_blocks(
    work: Work, geometries: tuple[Geometry, ...], choose: Callable[[Work, Geometry], Blocks]
) -> list[Blocks]:
    """Return what `choose` does for each accelerator: those of U65 are those of the U55 with its buffer."""
    shared: dict[tuple[object, ...], Blocks] = {}
    for geometry in geometries:
        key = (geometry.microblocks, geometry.banks)
        if key not in shared:
            shared[key] = choose(work, geometry)
    return [shared[geometry.microblocks, geometry.banks] for geometry in geometries]


def laid_end_to_end(blocks: Sequence[Blocks]) -> Blocks:
    """Return the blocks of one accelerator after the other as rows."""
    return Blocks(*(np.concatenate([getattr(b, f.name) for b in blocks]) for f in fields(Blocks)))


def integer_blocks(work: Work, geometry: Geometry, streamed: bool) -> Blocks:
    """Return the same for what is done with integers of 32 bits, all of it `streamed` or none."""
    part_kernel = np.zeros(len(work), dtype=np.bool_)
    sizes = _search(work, geometry, part_kernel, streamed, INTEGER_BYTES)
    return _blocks(work, geometry, sizes, part_kernel)


def _blocks(work: Work, geometry: Geometry, sizes: Float64, part_kernel: Flags) -> Blocks:
    height, width, depth = sizes
    high = round_up(needed(height, work.stride_h, work.span_h), geometry.microblocks[0][0])
    wide = round_up(needed(width, work.stride_w, work.span_w), geometry.microblocks[0][1])
    channels = np.where(_equal_depth(work), depth, _input_depth(work, part_kernel))
    return Blocks(height, width, depth, channels, wide, high * wide * channels, part_kernel)


def _equal_depth(work: Work) -> Flags:
    """Return whether an output needs its own channel alone."""
    return np.asarray((work.kind == ELEMENTWISE) | (work.kind == POOLING) | (work.kind == DEPTHWISE))


def _input_depth(work: Work, part_kernel: Flags) -> Float64:
    return round_up(np.minimum(work.in_c, np.where(part_kernel, 16.0, 32.0)), GRANULE)


@np.errstate(over="ignore", invalid="ignore")
def _search(
    work: Work, geometry: Geometry, part_kernel: Flags, streamed: bool, input_bytes: int = 1
) -> Float64:
    """Return height, width and channels of each operator's block, float64[3, n].

    What a damaged file makes too large is infinite, and fits nowhere.
    """
    tried, equal_depth = candidates(work, _space(geometry, streamed, input_bytes)), _equal_depth(work)
    inputs = _inputs(work, geometry, tried, np.where(equal_depth, np.nan, _input_depth(work, part_kernel)))
    # Accelerators of 256 need no second row for a single one.
    single = (geometry.microblocks[0][0] == 2) & (work.out_h == 1) & (work.kernel_h == 1)
    low = np.where(single[:, None], 1.0, tried.height)
    area = inputs.area
    # Integers come in as many banks at once as sums do.
    granule = geometry.input_granule if input_bytes == 1 else geometry.sum_granule
    banks = _banks(tried, area, round_up(inputs.depth * input_bytes, GRANULE), granule)
    if streamed:
        cost = volume(work, tried)
        banks += banks
    else:
        cost = fetched(work, tried, area, equal_depth, low)
        sums = round_up(tried.depth, GRANULE) * SUM_BYTES
        banks += _banks(tried, low * tried.width, sums, geometry.sum_granule)
    free = geometry.banks - OUTPUT_BANKS - np.maximum(_table_banks(geometry), work.table)
    fits, never = banks <= free[:, None], np.zeros(len(work), dtype=np.bool_)
    return np.stack(tried.chosen(cheapest(work, tried, inputs, cost, fits, never)))


def _inputs(work: Work, geometry: Geometry, tried: Candidates, own: Float64) -> Inputs:
    """Return what candidates read: `own` float64[n] channels at once, or NaN for as many as outputs."""
    apart, (micro_h, micro_w, _) = work.enlarged[:, None], geometry.microblocks[0]
    rows = needed(tried.height, work.stride_h[:, None], work.span_h[:, None])
    columns = needed(tried.width, work.stride_w[:, None], work.span_w[:, None])
    return Inputs(
        round_up(ceil_div(rows, apart), micro_h),
        round_up(ceil_div(columns, apart), micro_w),
        np.where(np.isnan(own)[:, None], tried.depth, own[:, None]),
        work.enlarged,
    )


def _banks(tried: Candidates, area: Float64, depth: Float64, granule: int) -> Float32:
    """Return the banks of two buffers for each block, float32[n, k]; what fits is exact in 32 bits.

    `area` float64[n, p] are elements of a channel, `depth` float64[n, d] the bytes of all channels of one.
    """
    banks = tried.by_area(area.astype(np.float32))
    banks *= tried.by_depth(depth.astype(np.float32))
    for scale in (1 / BANK_BYTES, 2 / granule):
        banks *= np.float32(scale)
        np.ceil(banks, out=banks)
    banks *= np.float32(granule)
    return banks


def _table_banks(geometry: Geometry) -> int:
    return 2 if geometry.banks > 16 else 0


def _space(geometry: Geometry, streamed: bool, input_bytes: int) -> Space:
    banks = geometry.banks - OUTPUT_BANKS - _table_banks(geometry)
    if streamed:
        elements = banks // 4 * BANK_BYTES // input_bytes
    else:
        elements = (banks - geometry.input_granule) // 2 * BANK_BYTES // SUM_BYTES
    return Space(geometry.microblocks[0], MOST, elements, GRANULE)
