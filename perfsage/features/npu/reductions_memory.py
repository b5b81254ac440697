"""What reductions take of an NPU's SRAM beside what they read and make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.axes import reduced_axes
from perfsage.features.npu.formats import BRICK, EDGE
from perfsage.features.npu.work import Flags, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_SHORT_BYTES = 2.0


def reduction_room(
    subgraph: Subgraph,
    operands: Operands,
    refused: Flags,
    formats: NDArray[np.int64],
    size: Float64,
    *,
    u85: bool,
) -> Float64 | float:
    """Return bytes, float64[n, 2]: with all in SRAM, and with what enters and leaves the graph in DRAM.

    Between two axes, the result of the first is kept. U55 and U65 keep values of 16 bits to find places;
    sums of other than channels are transposed before.
    `formats` int64 and `size` float64 in bytes are those of each tensor, [tensors + 1].
    """
    placed = operands.is_type("ARG_MAX") & ~refused & (not u85)
    summed = np.flatnonzero(operands.is_type("SUM") & ~refused)
    largest = np.flatnonzero(operands.is_type("REDUCE_MAX", "REDUCE_MIN") & ~refused)
    if not (placed.any() or len(summed) or len(largest)):
        return 0.0
    made = np.zeros((len(refused), 2))
    for row, axes in zip(largest, reduced_axes(subgraph.columns, operands, largest), strict=True):
        if len(axes) > 1:
            # What is left of the first axis, instead of the result.
            tensor, result = operands.data[row], operands.result[row]
            left = operands.elements[tensor] / operands.dimensions[tensor, axes[0]]
            made[row] = left, left - (operands.elements[result] if formats[result] != EDGE else 0.0)
    moved = [
        row
        for row, axes in zip(summed, reduced_axes(subgraph.columns, operands, summed), strict=True)
        if axes[-1] < 3
    ]
    made[moved] = operands.elements[operands.data[moved], None]
    rows = np.flatnonzero(placed)
    if len(rows):
        data, result = operands.data[rows], operands.result[rows]
        inside = np.stack([size[data], np.where(formats[data] != EDGE, size[data], 0.0)], axis=1)
        leaves = np.stack([np.ones(len(rows)), formats[result] != EDGE], axis=1)
        leaves *= size[result, None]
        # Of a single channel, nothing is searched, and bricks hold other pixels beside each.
        beside = np.where(operands.dimensions[data, 3] == 1, 1.0, BRICK)
        made[rows] = _places(operands.elements[data], operands.elements[result], inside, leaves, beside)
    return made


def _places(
    elements: Float64, places: Float64, entering: Float64, leaving: Float64, beside: Float64
) -> Float64:
    """Return what the largest of three steps takes more than the ends that are in SRAM, float64[k, 2].

    What is found is kept with room for `beside` float64[k] channels.
    """
    shorts, bricks = _SHORT_BYTES * elements, _SHORT_BYTES * beside * places
    pooled = (shorts + np.where(beside > 1, _SHORT_BYTES * places, 0.0))[:, None]
    written = bricks[:, None] + np.maximum(leaving, _SHORT_BYTES * places[:, None])
    most = np.maximum(np.maximum(entering + shorts[:, None], pooled), written)
    return np.asarray(np.maximum(most - entering - leaving, 0.0))
