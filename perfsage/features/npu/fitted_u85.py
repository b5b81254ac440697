"""What blocks of windows, transposes and sums of integers are fitted for on each U85 (`areas_u85`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.areas_u85 import GRANULE, UNIT_DEPTHS, Areas, fit_areas
from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.blocks_alone import MOST
from perfsage.features.npu.formats import BRICKS
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.search import needed
from perfsage.features.npu.work import INTEGER_BYTES, Float64, Work, ceil_div, round_up

Int64 = NDArray[np.int64]


def fitted_blocks(
    work: Work, before: Work | None, geometries: tuple[Geometry, ...], micro: Float64
) -> Blocks:
    """Return the blocks of poolings on each accelerator, whose microblocks are float64[accelerators * n, 3].

    A pooling of one element may transpose the image `before` it.
    """
    tiles = np.tile(np.arange(len(work)), len(geometries))
    sized = (before or work).take(tiles)
    # The axis that becomes channels comes in their bricks.
    axis = None if before is None else np.where(sized.out_w > 1, 1, 0)
    areas = _areas(sized, geometries, micro, axis, 1.0, 0.0)
    if axis is not None:
        areas.step[np.arange(len(axis)), axis] = GRANULE
    height, width, depth = fit_areas(areas)
    work = work.take(tiles)
    unit = areas.unit[np.arange(len(work)), np.searchsorted(UNIT_DEPTHS, depth)]
    high = round_up(needed(height, work.stride_h, work.span_h), unit[:, 0])
    wide = round_up(needed(width, work.stride_w, work.span_w), unit[:, 1])
    deep = round_up(depth, unit[:, 2])
    return Blocks(height, width, depth, deep, wide, high * wide * deep, np.zeros(len(work), dtype=np.bool_))


def fitted(work: Work, geometry: Geometry, micro: Float64, axis: Int64 | None = None) -> Float64:
    """Return blocks of depthwise convolutions and poolings on one accelerator, float64[3, n].

    Of transposes, `axis` int64[n] becomes channels, which come in bricks if the result lies in these.
    """
    areas = _areas(work, (geometry,), micro, axis, 1.0, 0.0)
    if axis is not None:
        rows = np.flatnonzero((axis < 2) & (work.target == BRICKS))
        areas.step[rows, axis[rows]] = GRANULE
    return fit_areas(areas)


def fitted_sums(
    work: Work, geometries: tuple[Geometry, ...], deep: float
) -> tuple[Float64, Float64, Float64, Float64]:
    """Return microblocks float64[n, 3] of sums of integers over channels, `deep` of them at once, and blocks.

    Of these the height and the width as far as there are outputs, and how many are on top of the image.
    """
    micro = np.concatenate(
        [_sum_micro(work.take(rows), geometry) for rows, geometry in _each(work, geometries)]
    )
    sums = replace(work, out_c=np.ones(len(work)))
    height, width, _ = fit_areas(_areas(sums, geometries, micro, None, float(INTEGER_BYTES), deep))
    across = ceil_div(work.out_h, height) * ceil_div(work.out_w, width)
    return micro, np.minimum(height, work.out_h), np.minimum(width, work.out_w), across


def _each(work: Work, geometries: tuple[Geometry, ...]) -> Iterator[tuple[Int64, Geometry]]:
    """Yield the rows of each accelerator."""
    count = len(work) // len(geometries)
    for place, geometry in enumerate(geometries):
        yield np.arange(place * count, (place + 1) * count), geometry


def _sum_micro(work: Work, geometry: Geometry) -> Float64:
    """Return the microblocks of sums of integers, float64[n, 3]: those allowed with least waste."""
    allowed = {128: slice(0, 1), 256: slice(1, 3), 512: slice(0, 2)}.get(geometry.macs, slice(2, 3))
    shapes = np.array(geometry.microblocks[allowed], dtype=np.float64)
    waste = round_up(work.out_h[:, None], shapes[:, 0]) * round_up(work.out_w[:, None], shapes[:, 1])
    return np.asarray(shapes[(waste * shapes[:, 2]).argmin(axis=1)])


def _areas(
    work: Work,
    geometries: tuple[Geometry, ...],
    micro: Float64,
    axis: Int64 | None,
    input_bytes: float,
    deep: float,
) -> Areas:
    units = np.empty((len(work), 3, 3))
    memory = np.empty((3, len(work)))
    for rows, geometry in _each(work, geometries):
        index = (micro[rows, None, :] == np.array(geometry.microblocks)).all(axis=2).argmax(axis=1)
        units[rows] = np.array(geometry.input_units, dtype=np.float64)[index] * (1, 1, GRANULE / input_bytes)
        memory[:, rows] = np.array(
            [[geometry.sum_bytes / INTEGER_BYTES], [geometry.input_bytes / input_bytes], [geometry.macs]]
        )
    step, most = _limits(work, micro, axis)
    sides = [[getattr(work, f"{name}_{axis}") for axis in "hwc"] for name in ("out", "in")]
    return Areas(
        out=np.stack(sides[0], axis=1),
        into=np.stack(sides[1], axis=1),
        most=most,
        step=step,
        micro=micro,
        unit=units,
        kernel=np.stack([work.span_h, work.span_w], axis=1),
        stride=np.stack([work.stride_h, work.stride_w], axis=1),
        sums=memory[0],
        inputs=memory[1],
        macs=memory[2],
        deep=np.full(len(work), deep),
    )


def _limits(work: Work, micro: Float64, axis: Int64 | None) -> tuple[Float64, Float64]:
    """Return what blocks are multiples of and how large they are at most, float64[n, 3]."""
    step = np.column_stack([micro[:, :2], np.full(len(work), GRANULE)])
    most = np.tile(np.array(MOST, dtype=np.float64), (len(work), 1))
    if axis is not None:
        # The axis that becomes channels is limited like these, and channels like it.
        most[:, 2] = np.where(axis < 2, MOST[0], MOST[2])
        most[np.arange(len(work)), axis] = MOST[2]
    return step, most
