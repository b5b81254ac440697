"""Operators that the larger U85 work off stripe by stripe, so that what is between them stays in SRAM.

An operator follows the one before it into its cascade where it would not fit into SRAM by itself, as long as
all buffers between them do. Stripes then grow while they fit. So does Vela 5 (`CascadeBuilder`,
`OptimizeSubSchedule`); what a cascade makes at last lies in DRAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cascade_steps import Steps
from perfsage.features.npu.formats import BRICK
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


@dataclass(frozen=True, slots=True)
class Cascade:
    """`rows` are its operators, `heights` those of their stripes, `room` what each one's weights find.

    `between` are the tensors that they hand on, `left` is what is made at last, and `bytes` are those of all
    buffers, of weights too.
    """

    rows: list[int]
    heights: list[float]
    room: list[float]
    between: list[int]
    left: int
    bytes: float


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
        left += [each.left] * (not steps.joined[each.left])
        for mine in {int(ranges.root[tensor]) for tensor in (*each.between, *left[-1:])}:
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


def cascades(steps: Steps, limit: int) -> Iterator[Cascade]:
    """Yield what is worked off together where so many bytes of SRAM are there."""
    # What leaves no byte free does not count as fitting.
    goes = (steps.next >= 0) & (steps.needed[steps.next] >= limit)
    # The least stripes are what the next one moves on by.
    least = np.where(steps.next >= 0, steps.stride[steps.next], 1.0)
    lines = _lines(steps, steps.next, least, least[steps.next])
    bytes_ = (lines * steps.row[steps.next]).tolist()
    done = -1
    for start in np.flatnonzero(goes & (np.array(bytes_) <= limit)).tolist():
        if start < done:
            continue
        rows, room = [start, int(steps.next[start])], limit - bytes_[start]
        while goes[rows[-1]]:
            again = steps.alike[rows[-1]] and lines[rows[-1]] == lines[rows[-2]]
            room -= 0.0 if again else bytes_[rows[-1]]
            if room < 0:
                break
            rows.append(int(steps.next[rows[-1]]))
        done = rows[-1] + 1
        yield _cascade(steps, rows, least[rows], limit)


def _cascade(steps: Steps, rows: list[int], least: Float64, limit: int) -> Cascade:
    """Return the cascade of `rows`, in the highest stripes that fit; `least` float64[rows] do."""
    after = np.append(np.cumprod(steps.stride[rows][::-1])[::-1][1:], 1.0)
    # Each line of each buffer has a brick at least.
    most = min((steps.height[rows[-1]] + 1.0) // 2, limit // BRICK)
    stripes = np.arange(least[-1] + 1.0, most + 1.0) * after[:, None]
    chosen, bytes_ = least, float(_buffers(steps, rows, least[:, None])[0])
    weights, nothing = steps.weights[rows], np.zeros(len(rows))
    # In the least stripes, weights are read so often that copying them is worth it in any case.
    held = np.where(weights <= _rooms(weights, nothing, limit - bytes_), weights, 0.0)
    sizes = _buffers(steps, rows, stripes)
    lower = (stripes < steps.height[rows, None]).all(axis=0)
    fits = np.logical_and.accumulate((sizes + held.sum() <= limit) & lower)
    if fits.any():
        chosen, bytes_ = stripes[:, fits][:, -1], float(sizes[fits][-1])
    weights = np.where(steps.worth[rows], weights, 0.0)
    room = _rooms(weights, held if fits.any() else nothing, limit - bytes_)
    bytes_ += float(weights[weights <= room].sum())
    between = steps.result[rows[:-1]].tolist()
    return Cascade(rows, chosen.tolist(), room.tolist(), between, int(steps.result[rows[-1]]), bytes_)


def _rooms(weights: Float64, held: Float64, room: float) -> Float64:
    """Return what each of `weights` finds beside those before it; those that are `held` count once more.

    So does Vela 5, which copies weights in the least stripes first, then in the chosen ones, and keeps in its
    account what the first plan held.
    """
    taken, made = float(held.sum()), []
    for bytes_, before in zip(weights.tolist(), held.tolist(), strict=True):
        made.append(max(room - taken + before, 0.0))
        taken += bytes_ * (bytes_ <= made[-1])
    return np.array(made)


def _lines(steps: Steps, after: Int64 | list[int], made: Float64, taken: Float64) -> Float64:
    """Return how high buffers before `after` are, which stripes of such heights fill and empty."""
    shape = (-1,) + (1,) * (made.ndim - 1)
    stride, span, most = (
        each[after].reshape(shape) for each in (steps.stride, steps.span, steps.source_height)
    )
    needed = np.maximum(np.minimum((taken - 1.0) * stride + span, most), 1.0)
    return np.asarray(np.ceil((made + needed) / needed) * needed)


def _buffers(steps: Steps, rows: list[int], stripes: Float64) -> Float64:
    """Return the bytes between `rows` for stripes float64[rows, choices] of their outputs."""
    after = rows[1:]
    lines = _lines(steps, after, stripes[:-1], stripes[1:])
    # What is as high as its input is written over it.
    again = np.zeros(lines.shape, dtype=np.bool_)
    again[1:] = steps.alike[rows[1:-1], None] & (lines[1:] == lines[:-1])
    return np.asarray(np.where(again, 0.0, lines * steps.row[after, None]).sum(axis=0))
