"""What an NPU moves to and from memory for each operator, as its compiler counts it.

Every block of outputs reads the inputs under it, with their rims, and once for each slice of channels; short
runs of channels waste the rest of a burst. Weights are kept, but scales and biases are read again for each
block over the image. The formulas are those of Vela 5 (`MeasureElementAccess`, `EstimateMemoryTransfer`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu_blocks import Blocks
from perfsage.features.npu_formats import BRICK, BRICKS, EDGE
from perfsage.features.npu_geometry import Geometry
from perfsage.features.npu_work import (
    DEPTHWISE,
    ELEMENTWISE,
    POOLING,
    SUBKERNEL,
    TRANSPOSED,
    Float64,
    Work,
    ceil_div,
    round_up,
)

FETCHED = ("near", "edge", "scale")
"""Bytes of activations inside, of activations at the graph's ends, and of scales and biases."""
SCALE_BYTES = 10.0
MOST_WRITTEN = 64


def fetched_bytes(work: Work, geometry: Geometry, blocks: Blocks) -> Float64:
    """Return float64[n, 3]: the bytes of FETCHED for one of each batch."""
    read = _reads(work, blocks) * _read_waste(work, geometry, blocks)
    written = work.out_h * work.out_w * stored(work.out_c, work.target) * _write_waste(work, geometry, blocks)
    enters, leaves = work.source == EDGE, work.target == EDGE
    # A transpose takes what enters or leaves the graph as a whole.
    whole = np.where(work.kind == TRANSPOSED, work.out_h * work.out_w * work.out_c, np.inf)
    over_image = ceil_div(work.out_h, blocks.height) * ceil_div(work.out_w, blocks.width)
    scales = np.where(work.is_matrix | (work.kind == DEPTHWISE), SCALE_BYTES * work.out_c, 0.0)
    return np.stack(
        [
            np.where(enters, 0.0, read) + np.where(leaves, 0.0, written),
            np.where(enters, np.minimum(read, whole), 0.0)
            + np.where(leaves, np.minimum(written, whole), 0.0),
            round_up(scales, BRICK) * over_image,
        ],
        axis=1,
    )


def stored(channels: Float64, formats: NDArray[np.int64]) -> Float64:
    """Return how many channels are kept for so many."""
    return np.where(formats == BRICKS, round_up(channels, BRICK), channels)


def _reads(work: Work, blocks: Blocks) -> Float64:
    """Return the elements that are read, over all blocks."""
    high = np.minimum(blocks.input_elements / (blocks.input_width * blocks.input_depth), work.in_h)
    area = high * np.minimum(blocks.input_width, work.in_w)
    count = ceil_div(work.out_h, blocks.height) * ceil_div(work.out_w, blocks.width)
    alone = (work.kind == DEPTHWISE) | (work.kind == POOLING)
    count = count * np.where(alone, 1.0, ceil_div(work.out_c, blocks.depth))
    count = count * ceil_div(work.kernel_h, SUBKERNEL) * ceil_div(work.kernel_w, SUBKERNEL)
    blocked = area / work.enlarged**2 * stored(work.in_c, work.source) * count
    streamed = work.out_h * work.out_w * stored(work.out_c, work.source) * (1.0 + work.binary)
    return np.where(work.kind == ELEMENTWISE, streamed, blocked)


def _read_waste(work: Work, geometry: Geometry, blocks: Blocks) -> Float64:
    """Return how many bytes are moved for each that is read."""
    burst = np.where(work.source == EDGE, geometry.edge_burst, geometry.burst)
    whole = work.in_c == blocks.input_depth
    run = np.where(whole, blocks.input_depth * blocks.input_width, blocks.input_depth)
    run = np.where(work.source == BRICKS, BRICK * blocks.input_width, run)
    return burst / np.minimum(burst, np.maximum(run, 1.0))


def _write_waste(work: Work, geometry: Geometry, blocks: Blocks) -> Float64:
    burst = np.where(work.target == EDGE, geometry.edge_burst, geometry.burst)
    whole = (blocks.depth <= BRICK) & (work.out_c == blocks.depth)
    most = min(MOST_WRITTEN, BRICK * geometry.cores)
    run = np.where(whole, blocks.depth * blocks.width, np.minimum(blocks.depth, most))
    run = np.where(work.target == BRICKS, BRICK * blocks.width * geometry.cores, run)
    return burst / np.minimum(burst, np.maximum(run, 1.0))
