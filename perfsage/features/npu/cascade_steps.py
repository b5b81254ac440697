"""Who may follow whom where operators are worked off stripe by stripe, and what stripes need (`cascades`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.chains import chains
from perfsage.features.npu.formats import (
    ALIASES,
    ARITHMETIC,
    BRICK,
    BRICKS,
    JOINTS,
    PARTS,
    in_rows,
    tensor_formats,
)
from perfsage.features.npu.fusing import fused
from perfsage.features.npu.padding import absorbed_padding
from perfsage.features.npu.wholes import wholes
from perfsage.features.npu.work import Flags, Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Int64 = NDArray[np.int64]
_ONE_TO_ONE = tuple(name for name in ARITHMETIC if name != "SQUARED_DIFFERENCE")
_WINDOWS = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")


@dataclass(frozen=True, slots=True)
class Steps:
    """Operators as they may be striped, [n]: `next` int64 is who may follow one in a cascade, or -1.

    `alone` bool says which are operators of their own, and `joined` bool[tensors + 1] what becomes a part.
    `source` and `result` int64 are tensors, `alike` bool says that a stripe is as high as what it is made of.
    `height`, `source_height`, `stride`, `span` and `row` float64, the last of which are the bytes of a row
    of the input; `weights` float64 the bytes of weights, `worth` bool whether copying them is no slower, and
    `needed` float64 the bytes of input and output.
    """

    alone: Flags
    joined: Flags
    next: Int64
    source: Int64
    result: Int64
    alike: Flags
    height: Float64
    source_height: Float64
    stride: Float64
    span: Float64
    row: Float64
    weights: Float64
    worth: Flags
    needed: Float64


def steps_of(
    subgraph: Subgraph, operands: Operands, refused: Flags, shapes: Float64, weights: Float64, size: Float64
) -> Steps:
    """Return how operators follow each other; `refused` bool[n] go to the CPU.

    `weights` float64[n] are coded bytes, and `size` float64[tensors + 1] those of tensors as they are stored.
    """
    rows = np.arange(len(operands.type))
    within, maker = fused(subgraph, operands, refused)
    owner = np.where(within, maker, rows)
    linked = chains(subgraph, operands, refused, owner)
    padding = absorbed_padding(subgraph, operands)
    last = rows.copy()
    np.maximum.at(last, owner, rows)
    padded = np.arange(operands.absent + 1)
    padded[operands.result[padding]] = operands.data[padding]
    source, result = padded[operands.data], operands.result[last]
    scheduled = ~(within | linked.within | padding | operands.is_type(*ALIASES, *PARTS, *JOINTS))
    # What ends a chain makes all at once.
    able = scheduled & (linked.length == 0) & ~refused & _striped(operands, shapes, source, result)
    dimensions = operands.dimensions
    alike = operands.is_type(*_ONE_TO_ONE).copy()
    alike &= dimensions[source].prod(axis=1) == dimensions[result].prod(axis=1)
    whole = wholes(subgraph, operands, refused)
    inside, outside = size[source], size[whole[result]]
    stride, span = _windows(subgraph, operands, shapes)
    return Steps(
        alone=scheduled,
        joined=whole != np.arange(len(whole)),
        next=_next(subgraph, operands, refused, scheduled, able, source, result),
        source=source,
        result=result,
        alike=alike,
        height=dimensions[result, 1],
        source_height=dimensions[source, 1],
        stride=stride,
        span=span,
        row=dimensions[source, 2] * round_up(dimensions[source, 3], BRICK),
        weights=weights,
        worth=weights > 0,
        needed=inside + np.where(alike & (operands.readers[source] == 1), 0.0, outside),
    )


def _striped(operands: Operands, shapes: Float64, source: Int64, result: Int64) -> Flags:
    """Return which operators can be worked off in stripes by what they are, bool[n].

    What multiplies channels becomes several operators, and so does what has groups of several channels.
    """
    dimensions = operands.dimensions
    depth = dimensions[source, 3]
    simple = ~operands.is_type("DEPTHWISE_CONV_2D") | (depth == dimensions[result, 3])
    apart = (shapes[:, 9] == 1) & (depth == dimensions[result, 3])
    grouped = operands.is_type("CONV_2D") & (shapes[:, 9] != depth) & ~apart
    able = operands.is_type(*_WINDOWS, *_ONE_TO_ONE) & simple & ~grouped & ~operands.constant[source]
    return np.asarray(able & (dimensions[source, 0] == 1) & (dimensions[result, 1] > 1))


def _windows(subgraph: Subgraph, operands: Operands, shapes: Float64) -> tuple[Float64, Float64]:
    """Return by how many rows windows move on, and how high they are with their dilation, each float64[n]."""
    attribute, windows = subgraph.columns.attribute, operands.is_type(*_WINDOWS)
    stride = np.where(windows, np.maximum(attribute("stride_h"), 1), 1).astype(np.float64)
    kernel = np.where(windows, shapes[:, 7], 1.0)
    return stride, (kernel - 1.0) * np.maximum(attribute("dilation_h_factor"), 1) + 1.0


def _next(
    subgraph: Subgraph,
    operands: Operands,
    refused: Flags,
    scheduled: Flags,
    able: Flags,
    source: Int64,
    result: Int64,
) -> Int64:
    """Return who may follow each operator in a cascade: the next `scheduled` one, if it reads it alone."""
    count = len(able)
    rows = np.where(scheduled, np.arange(count), count)
    following = np.append(np.minimum.accumulate(rows[::-1])[::-1][1:], count)
    after = np.minimum(following, count - 1)
    formats = tensor_formats(subgraph, operands, refused, in_rows(subgraph, operands, u85=True))
    handed = (following < count) & (source[after] == result) & (operands.readers[result] == 1)
    handed &= able & able[after] & (formats[result] == BRICKS)
    return np.where(handed, after, -1)
