"""The weights that an NPU's compiler copies to SRAM before an operator needs them, whole or in two halves.

While an operator runs, the weights of the next one are on their way; where that takes longer, the operator is
cut into slices of output channels whose weights take turns in two buffers. The rules are those of Vela 5
(`ProposeSlicedWeightBuffering`), for all operators at once instead of one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu import copying
from perfsage.features.npu.slices import SPLIT_DEPTH, Pairs, Slices, cut, leaving, slice_bytes, sliced_share
from perfsage.features.npu.tasks import ROOM, Task, pairs_of
from perfsage.features.npu.work import Flags, Float64, round_up

Int64 = NDArray[np.int64]
Where = tuple[Int64, Int64]
"""Rows and accelerators of operators whose weights may be copied, int64[k] each."""

_MOST_ROUNDS = 8
"""How long the last slice of an operator runs depends on that of the one before, and so on."""

_PARTS = ("one", "both", "late", "first", "rest", "kept", "count", "early", "padded")
"""Bytes of the buffer that is filled first, of both, of the one that is in use at last and of the first
slice; the cycles of the last slice; whether weights are copied at all; how many slices there are; and
whether the first buffer finds room while the operator before runs; then how many times as many bytes slices
have."""


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What an accelerator copies for each operator, [n, d]: `kept` bool, else float64.

    `ahead` are the bytes of weights in SRAM while it runs, `first` those that come while the one before runs,
    `cycles` what it takes with what it waits, and `slack` for how long the one before lets others copy.
    `scales` is how many times as many scales there are as without slices, each of which is rounded up,
    `slices` how many there are, and `lengths` [2, n, d] the channels of the first one and of each of the next
    ones, or 1 where all of them are multiples of what microblocks hold. `padded` is how many times as many
    bytes slices have, which fill up their microblocks.
    """

    kept: Flags
    ahead: Float64
    first: Float64
    cycles: Float64
    slack: Float64
    scales: Float64
    slices: Float64
    lengths: Float64
    padded: Float64


def prefetched(task: Task, busy: Flags, first: Flags, outside: Flags) -> Prefetch:
    """Return which weights are copied, and what that takes.

    `busy` bool[n, d] says which operators an accelerator does, `first` bool[n] which rows begin a graph, and
    `outside` bool[n, d] what the CPU does: nothing is copied in the meantime.
    """
    row, accelerator = np.nonzero((task.weights > 0) & busy)
    where = row, accelerator
    earlier, most = _earlier(busy, first, outside, where)
    before, images = earlier[where], task.staged[where]
    most = np.where(images > 0, np.minimum(most, np.array(ROOM)[accelerator] - images), most)
    pairs = pairs_of(task, where, before)
    part, slack, rest = _settled(task, pairs, where, before, most)
    kept, ahead, come = _buffered(task, part, where, before)
    took = task.direct.copy()
    took[where] = np.where(part["kept"] > 0, _cycles(pairs, part, slack), task.direct[where])
    scales, count, lengths = _sliced(task, pairs, part, slack, where)
    slack = _slack(task, rest, earlier, np.arange(busy.shape[1]))
    padded = np.ones(task.direct.shape)
    padded[where] = part["padded"]
    return Prefetch(kept, ahead, come, took, slack, scales, count, lengths, padded)


def _earlier(busy: Flags, first: Flags, outside: Flags, where: Where) -> tuple[Int64, Float64]:
    """Return the row of the operator before each, int64[n, d], and the bytes of weights that may come then.

    The latter float64[k] for each of `where`, infinite but where the CPU works in between.
    """
    earlier, most = _before(busy, first), np.full(len(where[0]), np.inf)
    if outside.any():
        halted = _before(outside, first) > earlier
        earlier[halted] = -1
        most[halted[where]] = 0.0
    return earlier, most


def _settled(
    task: Task, pairs: Pairs, where: Where, before: Int64, most: Float64
) -> tuple[dict[str, Float64], Float64, Float64]:
    """Return _PARTS of each pair, how long it may copy for, and what its last slice takes, [n, d].

    What an operator copies depends on the one before, so that all are planned until nothing changes.
    """
    row, accelerator = where
    rest, lead, free = task.planned_direct.copy(), task.lead[where], np.minimum(task.room, ROOM)
    parts, slack = np.zeros((len(_PARTS), len(row))), np.full(len(row), -1.0)
    beside, empty = np.full(len(row), -1.0), free.copy()
    for _ in range(_MOST_ROUNDS):
        now = np.where(np.isfinite(lead), lead, _slack(task, rest, before, accelerator))
        left = np.where(before >= 0, free[before, accelerator], most)
        todo = np.flatnonzero((now != slack) | (left != beside))
        if not len(todo):
            break
        slack, beside = now, left
        some = pairs.take(todo) if len(todo) < len(row) else pairs
        parts[:, todo] = _buffers(some, slack[todo], beside[todo])
        at = row[todo], accelerator[todo]
        rest[at] = parts[_PARTS.index("rest"), todo]
        free[at] = empty[at] - parts[_PARTS.index("late"), todo]
    return dict(zip(_PARTS, parts, strict=True)), slack, rest


def _buffered(
    task: Task, part: dict[str, Float64], where: Where, before: Int64
) -> tuple[Flags, Float64, Float64]:
    """Return `kept`, `ahead` and `first` of Prefetch."""
    early = part["early"] > 0
    table = np.zeros((4, *task.cycles.shape))
    table[:, *where] = part["both"], part["late"], np.where(early, part["first"], 0.0), part["kept"]
    # Towards an operator's end, the first buffer of the next one is filled.
    there = (before >= 0) & early
    table[1, before[there], where[1][there]] += part["one"][there]
    return table[3] > 0, np.maximum(table[0], table[1]), table[2]


def _sliced(
    task: Task, pairs: Pairs, part: dict[str, Float64], slack: Float64, where: Where
) -> tuple[Float64, Float64, Float64]:
    """Return `scales`, `slices` and `lengths` of Prefetch."""
    scales, count, *lengths = np.ones((4, *task.cycles.shape))
    count[where] = part["count"]
    # Slices end at multiples of SPLIT_DEPTH.
    coarse = task.granule[where] > SPLIT_DEPTH
    ragged = (part["count"] > 1.0) & (pairs.channels % SPLIT_DEPTH > 0)
    uneven = np.flatnonzero((part["kept"] > 0) & (coarse | ragged))
    at, taken = (where[0][uneven], where[1][uneven]), pairs.take(uneven)
    slices = cut(taken, slack[uneven], taken.direct > taken.unmoved)
    lengths[0][at], lengths[1][at] = slices.first, slices.next
    scales[at] = np.where(coarse[uneven], _fill(slices, taken), 1.0)
    return scales, count, np.stack(lengths)


def _fill(slices: Slices, pairs: Pairs) -> Float64:
    """Return how many times as many channels slices fill with their microblocks, float64[k]."""
    micro, several = pairs.micro, slices.following > 0
    filled = round_up(slices.first, micro) + np.where(several, round_up(slices.last, micro), 0.0)
    filled += np.maximum(slices.following - 1.0, 0.0) * round_up(slices.next, micro)
    return np.asarray(filled / round_up(pairs.channels, micro))


def _slack(task: Task, rest: Float64, before: Int64, accelerator: Int64) -> Float64:
    """Return how long the operators `before` let others copy, of the `rest` that each runs at last."""
    free = np.where(task.follows, task.tail, np.minimum(rest, task.tail))
    free = free[np.maximum(before, 0), accelerator]
    return np.where(before >= 0, free, 0.0)


def _cycles(pairs: Pairs, part: dict[str, Float64], slack: Float64) -> Float64:
    """Return the cycles of operators whose weights are copied, and wait for the first or for all of them.

    Weights of all pieces but the first come while the one before runs.
    """
    real, count = pairs.real / pairs.pieces, pairs.pieces - 1.0
    first = np.maximum(part["first"] / pairs.far_rate + pairs.far_latency - slack, 0.0)
    copy = (pairs.copy - pairs.far_latency) * part["padded"] + pairs.far_latency
    begin = np.maximum(copy - slack + part["rest"], real + first)
    return np.asarray(begin + count * np.maximum(copy, real))


def _before(busy: Flags, first: Flags) -> Int64:
    """Return the row of the operator before each one on each accelerator, -1 where there is none."""
    rows = np.arange(len(busy))[:, None]
    latest = np.maximum.accumulate(np.where(busy, rows, -1), axis=0)
    before = np.concatenate([np.full((1, busy.shape[1]), -1), latest[:-1]])
    begin = np.maximum.accumulate(np.where(first, rows[:, 0], 0))
    return np.where(before >= begin[:, None], before, -1)


def _buffers(pairs: Pairs, slack: Float64, beside: Float64) -> Float64:
    """Return _PARTS of each pair, float64[len(_PARTS), k], with `beside` bytes free beside the one before."""
    cycles = pairs.cycles
    dominated = pairs.direct > pairs.unmoved
    slices = cut(pairs, slack, dominated)
    several = slices.following > 0
    even = np.where(slices.following >= 3, slices.next, np.where(slices.following == 2, slices.last, 0.0))
    odd = np.where(slices.following >= 2, slices.next, slices.last)
    one, other = np.maximum(slices.first, even), np.where(several, odd, 0.0)
    late = np.where(slices.following % 2 == 1, other, one)
    # Nothing is copied ahead within a cascade.
    early = ~pairs.inside & (round_up(slice_bytes(pairs, one), SPLIT_DEPTH) < beside)
    kept = copying.kept(pairs, np.where(early, slack, 0.0), slack, beside, dominated, slices)
    one, other, late, begin = (
        np.where(kept, round_up(slice_bytes(pairs, part), SPLIT_DEPTH), 0.0)
        for part in (one, other, late, slices.first)
    )
    whole = cycles / np.maximum(pairs.stripes, 1.0)
    after = np.where(several, slices.last_ran + leaving(pairs, slices.last), whole)
    rest = np.where(kept, after, pairs.direct) / pairs.pieces
    count = np.where(kept, 1.0 + slices.following, 1.0)
    padded = np.where(kept, sliced_share(pairs, slices), 1.0)
    return np.stack([one, one + other, late, begin, rest, kept, count, early, padded])
