"""Which operators make a cascade, and how high its stripes are, as the larger U85 works them off.

An operator follows the one before it into its cascade where it would not fit into SRAM by itself, as long as
all buffers between them do. Stripes then grow while they fit, in several cascades if need be. So does Vela 5
(`CascadeBuilder`, `OptimizeSubSchedule`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cascade_steps import Steps
from perfsage.features.npu.formats import BRICK
from perfsage.features.npu.work import Flags, Float64

Int64 = NDArray[np.int64]


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
        yield from _striped(steps, rows, least[rows], limit)


def _striped(steps: Steps, rows: list[int], least: Float64, limit: int) -> Iterator[Cascade]:
    """Yield the cascades of `rows`, in the highest stripes that fit; `least` float64[rows] do."""
    after = np.append(np.cumprod(steps.stride[rows][::-1])[::-1][1:], 1.0)
    # Each line of each buffer has a brick at least.
    most = min((steps.height[rows[-1]] + 1.0) // 2, limit // BRICK)
    stripes = np.arange(least[-1] + 1.0, most + 1.0) * after[:, None]
    weights, nothing = steps.weights[rows], np.zeros(len(rows))
    free = limit - _sum(steps, rows, least)
    # In the least stripes, weights are read so often that copying them is worth it in any case.
    held = np.where(weights <= _rooms(weights, nothing, free), weights, 0.0)
    begins, fits = _parted(steps, rows, stripes, held, limit)
    if not fits.any():
        yield _cascade(steps, rows, least, nothing, limit)
        return
    chosen = int(np.flatnonzero(fits)[-1])
    starts = np.flatnonzero(begins[:, chosen]).tolist()
    for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        if end - begin > 1:
            yield _cascade(steps, rows[begin:end], stripes[begin:end, chosen], held[begin:end], limit)


def _parted(
    steps: Steps, rows: list[int], stripes: Float64, held: Float64, limit: int
) -> tuple[Flags, Flags]:
    """Return where cascades begin in stripes float64[rows, choices], and bool[choices] which are taken.

    What exceeds SRAM begins a cascade of its own. Vela 5 raises stripes as long as there are no more cascades
    than in the first ones that it tries, and as long as what is left alone fits as a whole.
    """
    sizes, again = _buffers(steps, rows, stripes)
    begins = np.ones(stripes.shape, dtype=np.bool_)
    total = np.full_like(stripes[0], held[0])
    for place in range(1, len(rows)):
        kept = again[place - 1] & ~begins[place - 1]
        total = total + np.where(kept, 0.0, sizes[place - 1]) + held[place]
        begins[place] = total > limit
        total = np.where(begins[place], held[place], total)
    alone = begins & np.concatenate([begins[1:], np.ones_like(begins[:1])])
    count = (begins & ~alone).sum(axis=0)
    fits = (stripes < steps.height[rows, None]) & (~alone | (steps.needed[rows, None] <= limit))
    return begins, np.logical_and.accumulate(fits.all(axis=0) & (count > 0) & (count <= count[:1]))


def _cascade(steps: Steps, rows: list[int], heights: Float64, held: Float64, limit: int) -> Cascade:
    """Return the cascade of `rows` in stripes of these heights, float64[rows], as are `held` weights."""
    bytes_ = _sum(steps, rows, heights)
    weights = np.where(steps.worth[rows], steps.weights[rows], 0.0)
    room = _rooms(weights, held, limit - bytes_)
    bytes_ += float(weights[weights <= room].sum())
    between = steps.result[rows[:-1]].tolist()
    return Cascade(rows, heights.tolist(), room.tolist(), between, int(steps.result[rows[-1]]), bytes_)


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


def _buffers(steps: Steps, rows: list[int], stripes: Float64) -> tuple[Float64, Flags]:
    """Return the bytes between `rows` for stripes float64[rows, choices] of outputs, and what is reused.

    Both [rows - 1, choices]; what is as high as its input is written over it, if that is a buffer too.
    """
    after = rows[1:]
    lines = _lines(steps, after, stripes[:-1], stripes[1:])
    again = np.zeros(lines.shape, dtype=np.bool_)
    again[1:] = steps.alike[rows[1:-1], None] & (lines[1:] == lines[:-1])
    return np.asarray(lines * steps.row[after, None]), again


def _sum(steps: Steps, rows: list[int], stripes: Float64) -> float:
    """Return the bytes of all buffers between `rows` for stripes float64[rows]."""
    sizes, again = _buffers(steps, rows, stripes[:, None])
    return float(np.where(again, 0.0, sizes).sum())
