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
from perfsage.features.npu.slices import SPLIT_DEPTH, Pairs, Slices, cut, slice_bytes, sliced_share
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
    places = np.flatnonzero((task.weights > 0) & busy)
    where = np.divmod(places, busy.shape[1])
    earlier, most = _earlier(busy, first, outside, places)
    before, images = earlier.take(places), task.staged.take(places)
    most = np.where(images > 0, np.minimum(most, np.array(ROOM).take(where[1]) - images), most)
    pairs = pairs_of(task, where, before)
    part, slack, rest = _settled(task, pairs, where, before, most)
    kept, ahead, come = _buffered(task, part, where, before)
    took = task.direct.flatten()
    took[places] = np.where(part["kept"] > 0, _cycles(pairs, part, slack), took.take(places))
    scales, count, lengths = _sliced(task, pairs, part, slack, places)
    slack = _slack(task, rest, earlier, np.arange(busy.shape[1]))
    padded = np.ones(busy.shape)
    padded[where] = part["padded"]
    return Prefetch(kept, ahead, come, took.reshape(busy.shape), slack, scales, count, lengths, padded)


def _earlier(busy: Flags, first: Flags, outside: Flags, places: Int64) -> tuple[Int64, Float64]:
    """Return the row of the operator before each, int64[n, d], and the bytes of weights that may come then.

    The latter float64[k] for each of `places`, infinite but where the CPU works in between.
    """
    earlier, most = _before(busy, first), np.full(len(places), np.inf)
    if outside.any():
        halted = _before(outside, first) > earlier
        earlier[halted] = -1
        most[halted.take(places)] = 0.0
    return earlier, most


def _settled(
    task: Task, pairs: Pairs, where: Where, before: Int64, most: Float64
) -> tuple[dict[str, Float64], Float64, Float64]:
    """Return _PARTS of each pair, how long it may copy for, and what its last slice takes, [n, d].

    What an operator copies depends on the one before, so that all are planned until nothing changes.
    """
    row, accelerator = where
    places = row * task.cycles.shape[1] + accelerator
    earlier = np.maximum(before, 0) * task.cycles.shape[1] + accelerator
    rest, free = task.planned_direct.flatten(), np.minimum(task.room, ROOM).ravel()
    lead, begins = task.lead.take(places), np.flatnonzero(before < 0)
    led, empty = np.flatnonzero(np.isfinite(lead)), free.copy()
    parts, slack, beside = np.zeros((len(_PARTS), len(row))), *np.full((2, len(row)), -1.0)
    tail, follows = task.tail.take(earlier), task.follows.take(np.maximum(before, 0))
    for _ in range(_MOST_ROUNDS):
        now, left = _while_last(rest.take(earlier), tail, follows), free.take(earlier)
        now[begins], left[begins] = 0.0, most[begins]
        now[led] = lead[led]
        todo = np.flatnonzero((now != slack) | (left != beside))
        if not len(todo):
            break
        slack, beside = now, left
        some = pairs.take(todo) if len(todo) < len(row) else pairs
        parts[:, todo] = _buffers(some, slack[todo], beside[todo])
        at = places[todo]
        rest[at] = parts[_PARTS.index("rest"), todo]
        free[at] = empty[at] - parts[_PARTS.index("late"), todo]
    return dict(zip(_PARTS, parts, strict=True)), slack, rest.reshape(task.cycles.shape)


def _buffered(
    task: Task, part: dict[str, Float64], where: Where, before: Int64
) -> tuple[Flags, Float64, Float64]:
    """Return `kept`, `ahead` and `first` of Prefetch."""
    early = part["early"] > 0
    table = np.zeros((4, *task.cycles.shape))
    flat, places = table.reshape(4, -1), where[0] * table.shape[2] + where[1]
    first = np.where(early, part["first"], 0.0)
    for row, values in zip(flat, (part["both"], part["late"], first, part["kept"]), strict=True):
        row[places] = values
    # Towards an operator's end, the first buffer of the next one is filled.
    there = np.flatnonzero((before >= 0) & early)
    flat[1, before[there] * table.shape[2] + where[1][there]] += part["one"][there]
    return table[3] > 0, np.maximum(table[0], table[1]), table[2]


def _sliced(
    task: Task, pairs: Pairs, part: dict[str, Float64], slack: Float64, places: Int64
) -> tuple[Float64, Float64, Float64]:
    """Return `scales`, `slices` and `lengths` of Prefetch."""
    made = np.ones((4, *task.cycles.shape))
    scales, count, first, following = made.reshape(4, -1)
    count[places] = part["count"]
    # Slices end at multiples of SPLIT_DEPTH.
    coarse = pairs.micro > SPLIT_DEPTH
    ragged = (part["count"] > 1.0) & (pairs.channels % SPLIT_DEPTH > 0)
    uneven = np.flatnonzero((part["kept"] > 0) & (coarse | ragged))
    at, taken = places[uneven], pairs.take(uneven)
    slices = cut(taken, slack[uneven], taken.direct > taken.unmoved)
    first[at], following[at] = slices.first, slices.next
    scales[at] = np.where(coarse[uneven], _fill(slices, taken), 1.0)
    return made[0], made[1], made[2:]


def _fill(slices: Slices, pairs: Pairs) -> Float64:
    """Return how many times as many channels slices fill with their microblocks, float64[k]."""
    micro, several = pairs.micro, slices.following > 0
    filled = round_up(slices.first, micro) + np.where(several, round_up(slices.last, micro), 0.0)
    filled += np.maximum(slices.following - 1.0, 0.0) * round_up(slices.next, micro)
    return np.asarray(filled / round_up(pairs.channels, micro))


def _slack(task: Task, rest: Float64, before: Int64, accelerator: Int64) -> Float64:
    """Return how long the operators `before` let others copy, of the `rest` that each runs at last."""
    free = _while_last(rest, task.tail, task.follows)[np.maximum(before, 0), accelerator]
    return np.where(before >= 0, free, 0.0)


def _while_last(rest: Float64, tail: Float64, follows: Flags) -> Float64:
    """Return how long an operator lets others copy: for its `tail`, of the `rest` if nothing `follows`."""
    return np.where(follows, tail, np.minimum(rest, tail))


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
    dominated = pairs.direct > pairs.unmoved
    slices = cut(pairs, slack, dominated)
    one, other, late = _taking_turns(slices)
    # Nothing is copied ahead within a cascade.
    early = ~pairs.inside & (round_up(slice_bytes(pairs, one), SPLIT_DEPTH) < beside)
    kept = copying.kept(pairs, np.where(early, slack, 0.0), slack, beside, dominated, slices)
    buffers = {"one": one, "both": other, "late": late, "first": slices.first}
    made = {
        name: np.where(kept, round_up(slice_bytes(pairs, channels), SPLIT_DEPTH), 0.0)
        for name, channels in buffers.items()
    }
    made["both"] += made["one"]
    after = pairs.cycles / np.maximum(pairs.stripes, 1.0)
    after[slices.several] = slices.ended
    made |= {
        "rest": np.where(kept, after, pairs.direct) / pairs.pieces,
        "kept": kept,
        "count": np.where(kept, 1.0 + slices.following, 1.0),
        "early": early,
        "padded": np.where(kept, sliced_share(pairs, slices), 1.0),
    }
    return np.stack([made[name] for name in _PARTS])


def _taking_turns(slices: Slices) -> tuple[Float64, Float64, Float64]:
    """Return the most channels in the first buffer, in the other one, and in the last in use, float64[k]."""
    one, other, late = slices.first.copy(), np.zeros(len(slices.first)), slices.first.copy()
    some = slices.several
    first, following, last, count = (
        part[some] for part in (slices.first, slices.next, slices.last, slices.following)
    )
    even = np.where(count >= 3, following, np.where(count == 2, last, 0.0))
    one[some] = np.maximum(first, even)
    other[some] = np.where(count >= 2, following, last)
    late[some] = np.where(count % 2 == 1, other[some], one[some])
    return one, other, late
