"""The block of outputs that Ethos-U55 and U65 work on at once: the one that fetches least.

The compiler tries every height, width and depth that fits its buffer and takes the cheapest. Cost falls with
the width as long as the block fits, so here only the widest one is tried for each height and depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu_geometry import Geometry
from perfsage.features.npu_work import (
    CONVOLUTION,
    DEPTHWISE,
    ELEMENTWISE,
    POOLING,
    SUBKERNEL,
    Flags,
    Work,
    ceil_div,
    round_up,
)

Float64 = NDArray[np.float64]
MOST_HEIGHT, MOST_WIDTH, MOST_DEPTH = 32, 64, 128
HEIGHTS = np.array([*range(1, 13), *range(14, 21, 2), *range(24, MOST_HEIGHT + 1, 4)], dtype=np.float64)
"""Heights that are tried: every one up to 12, then fewer, since each one costs time."""
SPLIT_DEPTH = 16
BANK_BYTES = 1024
OUTPUT_BANKS = 2


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
    part_kernel = (work.kind == CONVOLUTION) & work.kernel_first_u55
    height, depth = _candidates(work, geometry)
    return Fit(work, geometry, height, depth, part_kernel).cheapest(part_kernel)


def _candidates(work: Work, geometry: Geometry) -> tuple[Float64, Float64]:
    """Return heights and depths to try, each float64[n, k]; those beyond the outputs repeat the largest."""
    micro_h, _, micro_c = geometry.microblocks[0]
    deepest = round_up(np.minimum(work.out_c, MOST_DEPTH), float(micro_c))
    depths = np.minimum(SPLIT_DEPTH * np.arange(1.0, MOST_DEPTH // SPLIT_DEPTH + 1), deepest[:, None])
    highest = round_up(np.minimum(work.out_h, MOST_HEIGHT), micro_h)
    steps = HEIGHTS[(HEIGHTS % micro_h == 0) & (highest.max() + micro_h > HEIGHTS)]
    heights = np.minimum(steps, highest[:, None])
    deep = depths[:, : int(np.ceil(deepest.max() / SPLIT_DEPTH))]
    shape = (len(work), deep.shape[1], heights.shape[1])
    return (
        np.broadcast_to(heights[:, None, :], shape).reshape(len(work), -1),
        np.broadcast_to(deep[:, :, None], shape).reshape(len(work), -1),
    )


class Fit:
    """Sizes of candidate blocks in the shared buffer, and what they would fetch; all [n, k]."""

    def __init__(
        self, work: Work, geometry: Geometry, height: Float64, depth: Float64, part_kernel: Flags
    ) -> None:
        self.work, self.geometry, self.height, self.depth = work, geometry, height, depth
        kind = work.kind[:, None]
        self.equal_depth = (kind == ELEMENTWISE) | (kind == POOLING) | (kind == DEPTHWISE)
        limit = np.where(part_kernel, 16.0, 32.0)
        own = round_up(np.minimum(work.in_c, limit), 8)[:, None]
        self.input_depth = np.where(self.equal_depth, depth, own)
        self.streamed = np.broadcast_to(kind == ELEMENTWISE, height.shape)
        tables = 2 if geometry.banks > 16 else 0
        self.free_banks = geometry.banks - OUTPUT_BANKS - np.maximum(tables, work.table)[:, None]
        round_h, self.round_w = (float(side) for side in geometry.microblocks[0][:2])
        self.most_width = float(MOST_WIDTH)
        self.step = np.full((1, 1), float(geometry.microblocks[0][1]))
        self.input_height = self.input_side(height, work.stride_h, work.span_h, round_h)
        single = (geometry.microblocks[0][0] == 2) & (work.out_h == 1) & (work.kernel_h == 1)
        self.sum_height = np.where(single[:, None], 1.0, height)

    def cheapest(self, part_kernel: Flags) -> Blocks:
        """Return the candidate of each operator that fetches least."""
        width = self.widest()
        cost = np.where(width > 0, self.cost(np.maximum(width, 1.0)), np.inf)
        chosen = np.arange(len(width)), cost.argmin(axis=1)
        wide = np.maximum(width[chosen], self.step[:, 0])
        depth = np.broadcast_to(self.input_depth, cost.shape)[chosen]
        across = self.input_side(wide, self.work.stride_w, self.work.span_w, self.round_w)
        return Blocks(
            height=self.height[chosen],
            width=wide,
            depth=self.depth[chosen],
            input_depth=depth,
            input_width=across,
            input_elements=self.input_height[chosen] * across * depth,
            part_kernel=part_kernel,
        )

    def input_side(self, size: Float64, stride: Float64, span: Float64, multiple: float) -> Float64:
        """Return how many inputs in a row (or column) so many outputs need, for sizes [n] or [n, k]."""
        part = np.minimum(span, SUBKERNEL)
        if size.ndim > 1:
            stride, part = stride[:, None], part[:, None]
        return round_up((size - 1) * stride + part, multiple)

    def input_area(self, width: Float64) -> Float64:
        """Return the inputs that a block of this width reads, per channel."""
        return self.input_height * self.input_side(width, self.work.stride_w, self.work.span_w, self.round_w)

    def fits(self, width: Float64) -> Flags:
        """Say whether inputs and accumulators, each twice, fit into the buffer."""
        inputs = np.ceil(self.input_area(width) * round_up(self.input_depth, 8) / BANK_BYTES) * 2
        inputs = round_up(inputs, self.geometry.input_granule)
        sums = self.sum_height * width * round_up(self.depth, 8) * 4 / BANK_BYTES
        sums = round_up(np.ceil(sums) * 2, self.geometry.sum_granule)
        second = np.where(self.streamed, inputs, sums)
        return np.asarray(inputs + second <= self.free_banks)

    def widest(self) -> Float64:
        """Return the widest block that fits, by bisection; 0 where none does."""
        most = round_up(np.minimum(self.work.out_w, self.most_width)[:, None], self.step) / self.step
        low = np.zeros_like(self.height)
        high = np.broadcast_to(most, low.shape).copy()
        for _ in range(int(np.ceil(np.log2(high.max() + 1)))):
            middle = np.ceil((low + high) / 2)
            fits = self.fits(middle * self.step)
            low = np.where(fits, middle, low)
            high = np.where(fits, high, np.maximum(middle - 1, low))
        return np.asarray(low * self.step)

    def cost(self, width: Float64) -> Float64:
        """Return what is fetched for an output, as the compiler counts it."""
        work = self.work
        out_h, out_w, out_c = work.out_h[:, None], work.out_w[:, None], work.out_c[:, None]
        elements, area = out_h * out_w * out_c, self.input_area(width)
        in_c = work.in_c[:, None]
        whole = np.ceil(out_h / self.height) * np.ceil(out_w / width)
        weighted = (work.kind == CONVOLUTION) | (work.kind == DEPTHWISE)
        weights = (np.where(weighted, work.kernel_h * work.kernel_w, 0.0))[:, None] * in_c * whole
        weights *= np.where(work.kind[:, None] == DEPTHWISE, 1.0, out_c)
        repeats = ceil_div(work.span_h, SUBKERNEL) * ceil_div(work.span_w, SUBKERNEL)
        inputs = area * in_c * repeats[:, None] * (out_h / self.height) * (out_w / width)
        inputs *= np.where(self.equal_depth, 1.0, np.ceil(out_c / self.depth))
        cost = (inputs + weights) / elements
        cost = np.where(self.streamed, elements / (self.height * width * self.depth), cost)
        all_at_once = (work.in_h * work.in_w)[:, None] * in_c < area * self.input_depth * 2
        return np.where(all_at_once, cost / 2, cost)
