"""The block of outputs that Ethos-U85 works on at once, as far as it decides what is read how often.

Convolutions are searched as on U55, in memories of their own for inputs and accumulators; heights and depths
are sampled. Depthwise convolutions and poolings take the area that the accumulators hold, in the outputs' own
proportion.
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu_blocks import Blocks, Fit
from perfsage.features.npu_geometry import Geometry
from perfsage.features.npu_work import DEPTHWISE, POOLING, SUBKERNEL, Flags, Float64, Work, round_up

MOST_SIDE, MOST_DEPTH = 128, 1024
HEIGHTS = np.array([1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 64, 128], dtype=np.float64)
DEPTHS = np.array([16, 32, 64, 128, 256, 1024], dtype=np.float64)
SUM_BYTES = 4


def choose_blocks_u85(work: Work, geometry: Geometry, micro: Float64, part_kernel: Flags) -> Blocks:
    """Return the cheapest block of each operator; `micro` float64[n, 3] are its microblocks."""
    height, depth = _candidates(work, micro)
    fit = _FitU85(work, geometry, height, depth, micro, part_kernel)
    blocks = fit.cheapest(part_kernel)
    alone = (work.kind == DEPTHWISE) | (work.kind == POOLING)
    if not alone.any():
        return blocks
    high, wide = _area(work, geometry, micro)
    span_h, span_w = np.minimum(work.span_h, SUBKERNEL), np.minimum(work.span_w, SUBKERNEL)
    input_width = np.where(alone, (wide - 1) * work.stride_w + span_w, blocks.input_width)
    area = ((high - 1) * work.stride_h + span_h) * input_width
    return Blocks(
        height=np.where(alone, high, blocks.height),
        width=np.where(alone, wide, blocks.width),
        depth=np.where(alone, 16.0, blocks.depth),
        input_depth=np.where(alone, 16.0, blocks.input_depth),
        input_width=input_width,
        input_elements=np.where(alone, area * 16.0, blocks.input_elements),
        part_kernel=part_kernel,
    )


def _candidates(work: Work, micro: Float64) -> tuple[Float64, Float64]:
    """Return heights and depths to try, each float64[n, k]; those beyond the outputs repeat the largest."""
    highest = round_up(np.minimum(work.out_h, MOST_SIDE), micro[:, 0])[:, None]
    deepest = round_up(np.minimum(work.out_c, MOST_DEPTH), 16.0)[:, None]
    # As many as the largest operator needs, so that every operator's own size is among them.
    tried_h = HEIGHTS[: 1 + np.searchsorted(HEIGHTS, highest.max())]
    heights = round_up(np.minimum(tried_h, highest), micro[:, :1])
    depths = np.minimum(DEPTHS[: 1 + np.searchsorted(DEPTHS, deepest.max())], deepest)
    shape = (len(work), depths.shape[1], heights.shape[1])
    return (
        np.broadcast_to(heights[:, None, :], shape).reshape(len(work), -1),
        np.broadcast_to(depths[:, :, None], shape).reshape(len(work), -1),
    )


class _FitU85(Fit):
    def __init__(
        self,
        work: Work,
        geometry: Geometry,
        height: Float64,
        depth: Float64,
        micro: Float64,
        part_kernel: Flags,
    ) -> None:
        super().__init__(work, geometry, height, depth, part_kernel)
        shallow = (geometry.macs <= 256) & (micro[:, 2] == 16)
        deep = np.where(part_kernel, 16.0, np.where(shallow, 32.0, 64.0))
        self.input_depth = round_up(np.minimum(work.in_c, deep), deep)[:, None]
        self.step, self.most_width, self.round_w = micro[:, 1:2], float(MOST_SIDE), 1.0
        self.input_height = self.input_side(height, work.stride_h, work.span_h, 1.0)

    def fits(self, width: Float64) -> Flags:
        inputs = self.input_area(width) * self.input_depth * 2
        sums = self.height * width * self.depth * SUM_BYTES * 2
        return np.asarray((inputs <= self.geometry.input_bytes) & (sums <= self.geometry.sum_bytes))


def _area(work: Work, geometry: Geometry, micro: Float64) -> tuple[Float64, Float64]:
    """Return height and width of the outputs of 16 channels that fit the accumulators and the inputs."""
    sums = geometry.sum_bytes / (16 * SUM_BYTES)
    area = np.minimum(sums, work.out_h * work.out_w)
    shape = np.sqrt(work.out_h / work.out_w)
    for _ in range(3):
        high = np.maximum(np.sqrt(area) * shape, 1.0)
        wide = np.maximum(area / high, 1.0)
        rows = (high - 1) * work.stride_h + np.minimum(work.span_h, SUBKERNEL)
        columns = (wide - 1) * work.stride_w + np.minimum(work.span_w, SUBKERNEL)
        area = area * np.minimum(geometry.input_bytes / (16 * rows * columns), 1.0)
    whole_h, whole_w = round_up(work.out_h, micro[:, 0]), round_up(work.out_w, micro[:, 1])
    fits = (area >= work.out_h * work.out_w) & (whole_h * whole_w <= sums)
    high = np.clip(np.floor(high / micro[:, 0]) * micro[:, 0], micro[:, 0], whole_h)
    wide = np.clip(np.floor(wide / micro[:, 1]) * micro[:, 1], micro[:, 1], whole_w)
    return np.where(fits, whole_h, high), np.where(fits, whole_w, wide)
