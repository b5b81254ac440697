"""Operators that the larger U85 work off stripe by stripe, so that what is between them stays in SRAM.

What a cascade (`stripes`) makes at last lies in DRAM, as in Vela 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cascade_steps import Steps
from perfsage.features.npu.stripes import cascades
from perfsage.features.npu.work import SPILL_BYTES, Flags, Float64
from perfsage.features.operands import Operands

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranges:
    """When what is in memory, as an NPU shares it: of the tensors with the same `root` int64[tensors + 1].

    `first` and `last` int64 and `bytes` float64, all [tensors + 1] at the roots; `live` float64[n] are the
    bytes of all of them at each operator.
    """

    root: Int64
    first: Int64
    last: Int64
    bytes: Float64
    live: Float64


@dataclass(frozen=True, slots=True)
class Striped:
    """`ranges` beside cascades, whose buffers are in their `live` bytes and in nothing else.

    `between` int64[k] are the tensors that stay in these buffers, and `left` int64[k] those that lie in DRAM.
    `heights` float64[n] are those of stripes, 0 where there are none. `room` float64[n] are the bytes that
    weights find beside the buffers, if there are any.
    """

    ranges: Ranges
    between: Int64
    left: Int64
    heights: Float64
    room: Float64


def crossing(first: Int64, last: Int64, refused: Flags) -> Flags:
    """Return which of the ranges between two rows have a row of the CPU's, `refused` bool[n]."""
    before = np.concatenate([[0], np.cumsum(refused)])
    begin, end = np.minimum(first, len(refused)), np.maximum(last + 1, 0)
    return np.asarray(before[np.maximum(end, begin)] > before[begin])


def is_tight(ranges: Ranges, size: Float64) -> bool:
    """Return whether the least SRAM may not hold all, or two tensors of `size` float64[tensors + 1]."""
    both = np.sort(size)[-2:].sum()
    return bool(len(ranges.live) and max(ranges.live.max(), both) >= SPILL_BYTES[0])


def in_stripes(operands: Operands, ranges: Ranges, steps: Steps, limit: int) -> Striped:
    """Return what is in memory where cascades are made that fit into so many bytes."""
    first, last, bytes_ = ranges.first.copy(), ranges.last.copy(), ranges.bytes.copy()
    buffers = np.zeros(len(ranges.live))
    root = np.where(steps.alone, ranges.root[operands.result], -1)
    heights, room = np.zeros(len(ranges.live)), np.full(len(ranges.live), np.inf)
    between: list[int] = []
    left: list[int] = []
    for each in cascades(steps, limit):
        begin, end = each.rows[0], each.rows[-1]
        # Everything that one of them needs is there while all of them run.
        first[(first > begin) & (first <= end)] = begin
        last[(last >= begin) & (last < end)] = end
        room[each.rows] = each.room
        own = np.where((steps.weights <= room) & steps.worth, steps.weights, 0.0)[begin : end + 1]
        buffers[begin : end + 1] += each.bytes - own
        heights[each.rows] = each.heights
        between += each.between
        whole = [each.left] * (not steps.joined[each.left])
        left += whole
        for mine in {int(ranges.root[tensor]) for tensor in (*each.between, *whole)}:
            # What was there before or is written over it later is a tensor of its own.
            others = np.flatnonzero(root == mine)
            if (others > end).any():
                first[mine] = others[others > end][0]
            elif (others < begin).any():
                last[mine] = end
            else:
                bytes_[mine] = 0.0
    if not between:
        return Striped(ranges, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), heights, room)
    made = Ranges(ranges.root, first, last, bytes_, buffers)
    made = replace(made, live=buffers + live_of(made, bytes_ > 0))
    return Striped(made, _read_as(operands, steps, between), _read_as(operands, steps, left), heights, room)


def live_of(ranges: Ranges, which: Flags) -> Float64:
    """Return the bytes of those roots that are alive at each operator, float64[n]."""
    there = np.flatnonzero(which & (ranges.last >= ranges.first) & (ranges.first < len(ranges.live)))
    change = np.zeros(len(ranges.live) + 1)
    np.add.at(change, ranges.first[there], ranges.bytes[there])
    np.add.at(change, ranges.last[there] + 1, -ranges.bytes[there])
    return np.asarray(np.cumsum(change)[:-1])


def _read_as(operands: Operands, steps: Steps, tensors: list[int]) -> Int64:
    """Return these tensors, and those which are the same but for the padding that others add to them."""
    return np.concatenate([np.array(tensors, dtype=np.int64), operands.data[np.isin(steps.source, tensors)]])
