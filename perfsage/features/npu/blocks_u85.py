"""The block of outputs that Ethos-U85 works on at once, as far as it decides what is read how often.

Convolutions, products and copies are searched as on U55, in memories of their own for inputs and
accumulators; all else has other rules (`blocks_alone`).
"""

from __future__ import annotations

from itertools import product

import numpy as np

from perfsage.features.npu.blocks import SUM_BYTES, Blocks
from perfsage.features.npu.blocks_alone import GRANULE, MOST, input_units, streamed
from perfsage.features.npu.fitted_u85 import fitted
from perfsage.features.npu.geometry import Block, Geometry
from perfsage.features.npu.search import (
    Candidates,
    Inputs,
    Space,
    candidates,
    cheapest,
    fetched,
    needed,
    volume,
)
from perfsage.features.npu.work import (
    DEPTHWISE,
    ELEMENTWISE,
    POOLING,
    PRODUCT,
    Flags,
    Float64,
    Work,
    round_up,
)


def choose_blocks_u85(work: Work, geometry: Geometry, micro: Float64, part_kernel: Flags) -> Blocks:
    """Return the cheapest block of each operator; `micro` float64[n, 3] are its microblocks."""
    pooled, each = work.kind == POOLING, work.kind == ELEMENTWISE
    alone = (work.kind == DEPTHWISE) | (pooled & ~work.copied)
    shallow = (geometry.macs <= 256) & (micro[:, 2] == 16)
    deep = np.where(part_kernel, 16.0, np.where(work.sparse, 128.0, np.where(shallow, 32.0, 64.0)))
    sizes = np.empty((3, len(work)))
    for rule, done in ((fitted, alone), (streamed, each)):
        if done.any():
            sizes[:, done] = rule(work.those(np.flatnonzero(done)), geometry, micro[done])
    for shape, copied in product(geometry.microblocks, (False, True)):
        rows = np.flatnonzero((micro == shape).all(axis=1) & (pooled == copied) & ~alone & ~each)
        if len(rows):
            searched = work.those(rows), geometry, shape, None if copied else deep[rows, None]
            sizes[:, rows] = _search(*searched)
    height, width, depth = sizes
    own = round_up(np.minimum(work.in_c, deep), deep)
    # Blocks of inputs come in whole units, but for what goes element by element.
    units = input_units(geometry, micro, np.where(alone | pooled, depth, deep)[:, None])[:, :, 0]
    unit_h, unit_w, unit_c = np.where(each, 1.0, units)
    input_depth = np.where(alone | each | pooled, round_up(depth, np.where(alone, unit_c, 1.0)), own)
    high = round_up(needed(height, work.stride_h, work.span_h), unit_h)
    wide = round_up(needed(width, work.stride_w, work.span_w), unit_w)
    return Blocks(height, width, depth, input_depth, wide, high * wide * input_depth, part_kernel)


def _search(work: Work, geometry: Geometry, micro: Block, deep: Float64 | None) -> Float64:
    """Return height, width and channels of each operator's block, float64[3, n].

    `deep` float64[n, 1] are the channels of a block of inputs, None for copies: those of outputs.
    """
    sizes = np.empty((3, len(work)))
    todo = np.arange(len(work))
    # Where two blocks do not fit into the memories, one has to do.
    for at_once in (2, 1):
        some = work.those(todo)
        tried, inputs, fits = _tried(some, geometry, micro, None if deep is None else deep[todo], at_once)
        cost = fetched(some, tried, inputs.area, some.kind == POOLING, tried.height, u85=True)
        products = some.kind == PRODUCT
        whole = (some.span_h == some.in_h) & (some.span_w == some.in_w) & (some.out_h * some.out_w == 1)
        if (rows := np.flatnonzero(whole | products)).size:
            cost[rows] = volume(some.take(rows), tried.of(rows))
        places = cheapest(some, tried, inputs, cost, fits, products)
        sizes[:, todo] = tried.chosen(places)
        todo = todo[~(fits & tried.exists).any(axis=1)]
        if not len(todo):
            break
    # Fewer channels are tried as a whole granule of them.
    sizes[2] = np.maximum(sizes[2], GRANULE)
    return sizes


def _tried(
    work: Work, geometry: Geometry, micro: Block, deep: Float64 | None, at_once: int
) -> tuple[Candidates, Inputs, Flags]:
    """Return what is tried, what it reads, and whether `at_once` of it fit into the memories, bool[n, k]."""
    elements = geometry.sum_bytes // (SUM_BYTES * at_once)
    tried = candidates(work, Space(micro, MOST, elements, GRANULE))
    micros = np.broadcast_to(micro, (len(work), 3))
    unit_h, unit_w, unit_c = input_units(geometry, micros, tried.depth if deep is None else deep)
    if deep is None:
        # Units, and with them areas, depend on the channels that are tried.
        tried = tried.apart()
        unit_h, unit_w = tried.by_depth(unit_h), tried.by_depth(unit_w)
    depth = round_up(tried.depth if deep is None else deep, unit_c)
    inputs = Inputs(
        round_up(needed(tried.height, work.stride_h[:, None], work.span_h[:, None]), unit_h),
        round_up(needed(tried.width, work.stride_w[:, None], work.span_w[:, None]), unit_w),
        depth,
        np.ones(len(work)),
    )
    if deep is None:
        fits = inputs.area * tried.by_depth(depth) * at_once <= geometry.input_bytes
    else:
        channels = round_up(np.minimum(depth, work.in_c[:, None]), unit_c)
        fits = tried.by_area(inputs.area * channels * at_once <= geometry.input_bytes)
    deepest = elements / (tried.height * tried.width)[tried.area]
    return tried, inputs, fits & (tried.by_depth(round_up(tried.depth, GRANULE)) <= deepest)
