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
from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.geometry import GEOMETRIES
from perfsage.features.npu.slices import SPLIT_DEPTH, Pairs, Slices, cut, leaving
from perfsage.features.npu.streams import MICRO_DEPTH
from perfsage.features.npu.work import SPILL_BYTES, Flags, Float64, round_up

Int64 = NDArray[np.int64]

SAME = ("products", "outputs", "blocks")
"""What plans of slices need of an operator's costs."""
_MOST_ROUNDS = 8
"""How long the last slice of an operator runs depends on that of the one before, and so on."""

_PARTS = ("one", "both", "late", "first", "rest", "kept", "count", "early")
"""Bytes of the buffer that is filled first, of both, of the one that is in use at last and of the first
slice; the cycles of the last slice; whether weights are copied at all; how many slices there are; and
whether the first buffer finds room while the operator before runs."""
ROOM = [SPILL_BYTES[g.spill - 1] if g.spill <= len(SPILL_BYTES) else np.inf for g in GEOMETRIES]
"""Bytes of SRAM for activations and copied weights."""
NEAR = [(g.near.rate / g.near.writing, g.near.rate / g.near.weights, g.near.read_latency) for g in GEOMETRIES]
FAR = [(g.far.rate / g.far.reading, g.far.rate / g.far.weights, g.far.read_latency) for g in GEOMETRIES]
_INPUT = [(g.near.rate / g.near.reading, g.edge.rate / g.edge.reading) for g in GEOMETRIES]
_EDGE = [(g.edge.read_latency, g.edge.write_latency) for g in GEOMETRIES]
_SYSTEMS = np.column_stack([NEAR, FAR, _INPUT, _EDGE, ROOM])


@dataclass(frozen=True, slots=True)
class Task:
    """What one operator has to do on each accelerator, float64[n, d] unless named otherwise.

    `weights` are coded bytes, `cycles` those of the operator with its weights in SRAM and `direct` where they
    are, `planned` and `planned_direct` the same before activations have a place in SRAM, with `enter` and
    `leave` for the first and the last transfer. `readings` is how often it reads weights, `block` the
    channels of a block and `granule` those that scales come for; `channels` float64[n] are the outputs',
    `size` float64[n] the bytes of the input. `input` are the bytes of one pass over the image for
    `pass_depth` channels, which may come from SRAM where it is `movable` bool[n, d]. The next operator's
    weights come during the last `tail` cycles at most, or in just these where something else `follows`
    bool[n, 1]; an operator's own ones during `lead` cycles where that is finite. Of its inputs, `staged`
    float64[n, d] bytes are copied to SRAM meanwhile. An operator is done in `pieces` float64[n], one for each
    multiple of channels or each corner. `products` and `outputs` are the
    cycles of either alone in so many `blocks`, and `stripes` is how many stripes an operator of a cascade is
    worked off in, 0 elsewhere, and `room` the bytes that weights find beside these.
    """

    weights: Float64
    cycles: Float64
    direct: Float64
    planned: Float64
    planned_direct: Float64
    enter: Float64
    leave: Float64
    input: Float64
    pass_depth: Float64
    size: Float64
    movable: Flags
    tail: Float64
    follows: Flags
    lead: Float64
    staged: Float64
    pieces: Float64
    readings: Float64
    block: Float64
    channels: Float64
    granule: Float64
    products: Float64
    outputs: Float64
    blocks: Float64
    stripes: Float64
    room: Float64


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What an accelerator copies for each operator, [n, d]: `kept` bool, else float64.

    `ahead` are the bytes of weights in SRAM while it runs, `first` those that come while the one before runs,
    `cycles` what it takes with what it waits, and `slack` for how long the one before lets others copy.
    `scales` is how many times as many scales there are as without slices, each of which is rounded up,
    `slices` how many there are, and `lengths` [2, n, d] the channels of the first one and of each of the next
    ones, or 1 where all of them are multiples of what microblocks hold.
    """

    kept: Flags
    ahead: Float64
    first: Float64
    cycles: Float64
    slack: Float64
    scales: Float64
    slices: Float64
    lengths: Float64


def prefetched(task: Task, busy: Flags, first: Flags, outside: Flags) -> Prefetch:
    """Return which weights are copied, and what that takes.

    `busy` bool[n, d] says which operators an accelerator does, `first` bool[n] which rows begin a graph, and
    `outside` bool[n, d] what the CPU does: nothing is copied in the meantime.
    """
    row, accelerator = np.nonzero((task.weights > 0) & busy)
    earlier = _before(busy, first)
    most = np.full(len(row), np.inf)
    if outside.any():
        halted = _before(outside, first) > earlier
        earlier[halted] = -1
        most[halted[row, accelerator]] = 0.0
    before = earlier[row, accelerator]
    images = task.staged[row, accelerator]
    most = np.where(images > 0, np.minimum(most, np.array(ROOM)[accelerator] - images), most)
    pairs = _pairs(task, row, accelerator, before)
    rest, lead = task.planned_direct.copy(), task.lead[row, accelerator]
    parts, slack, todo = np.zeros((len(_PARTS), len(row))), np.full(len(row), -1.0), np.arange(len(row))
    free = np.minimum(task.room, ROOM)
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
    part = dict(zip(_PARTS, parts, strict=True))
    table = np.zeros((4, *task.cycles.shape))
    kept = part["kept"] > 0
    cycles = np.where(kept, _cycles(pairs, part, slack), task.direct[row, accelerator])
    early = part["early"] > 0
    table[:, row, accelerator] = part["both"], part["late"], np.where(early, part["first"], 0.0), kept
    # Towards an operator's end, the first buffer of the next one is filled.
    there = (before >= 0) & early
    table[1, before[there], accelerator[there]] += part["one"][there]
    took = task.direct.copy()
    took[row, accelerator] = cycles
    scales, count, *lengths = np.ones((4, *task.cycles.shape))
    count[row, accelerator] = part["count"]
    # Slices end at multiples of SPLIT_DEPTH.
    coarse = task.granule[row, accelerator] > SPLIT_DEPTH
    uneven = np.flatnonzero(kept & (coarse | ((part["count"] > 1.0) & (pairs.channels % SPLIT_DEPTH > 0))))
    at, taken = (row[uneven], accelerator[uneven]), pairs.take(uneven)
    slices = cut(taken, slack[uneven], taken.direct > taken.unmoved)
    lengths[0][at], lengths[1][at] = slices.first, slices.next
    scales[at] = np.where(coarse[uneven], _fill(slices, taken), 1.0)
    slack = _slack(task, rest, earlier, np.arange(busy.shape[1]))
    return Prefetch(
        table[3] > 0, np.maximum(table[0], table[1]), table[2], took, slack, scales, count, np.stack(lengths)
    )


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
    begin = np.maximum(pairs.copy - slack + part["rest"], real + first)
    return np.asarray(begin + count * np.maximum(pairs.copy, real))


def _pairs(task: Task, row: Int64, accelerator: Int64, before: Int64) -> Pairs:
    stripes, scaled = task.stripes[row, accelerator], task.granule[row, accelerator]
    inside = (stripes > 0) & (before >= 0) & (task.stripes[np.maximum(before, 0), accelerator] > 0)
    channels, readings = np.maximum(task.channels[row], 1.0), task.readings[row, accelerator]
    # Scales come for whole granules of channels.
    scales = SCALE_BYTES * round_up(channels, scaled)
    stored = round_up(task.weights[row, accelerator] + scales, SPLIT_DEPTH)
    each = stored / task.pieces[row]
    systems = _SYSTEMS[accelerator].T
    near_rate, near_weights, near_latency, far_rate, far_weights, far_latency = systems[:6]
    near_input, far_input, edge_latency, write_latency, room = systems[6:]
    # What works in stripes reads its weights once more for each of them, as plans have it.
    readings = readings * np.maximum(np.ceil(stripes), 1.0)
    # Each stripe has a first and a last transfer, of weights too, and a block that nothing else hides.
    planned, direct = task.planned[row, accelerator], task.planned_direct[row, accelerator]
    blocks = np.maximum(task.blocks[row, accelerator], 1.0)
    products, outputs = task.products[row, accelerator], task.outputs[row, accelerator]
    enter, leave = task.enter[row, accelerator], task.leave[row, accelerator]
    more = np.maximum(stripes - 1.0, 0.0) * (enter + leave + np.minimum(products, outputs) / blocks)
    images = task.staged[row, accelerator]
    far_input = np.where(images > 0, near_input, far_input)
    edge_latency = np.where(images > 0, near_latency, edge_latency)
    return Pairs(
        stored=stored,
        real=task.cycles[row, accelerator],
        cycles=planned + more,
        direct=planned + more + (direct - planned) * np.maximum(stripes, 1.0),
        enter=enter,
        leave=leave,
        input=task.input[row, accelerator],
        size=task.size[row],
        pass_depth=task.pass_depth[row, accelerator],
        movable=task.movable[row, accelerator],
        near_latency=near_latency,
        near_input=near_input,
        far_input=far_input,
        edge_latency=edge_latency,
        write_latency=write_latency,
        readings=readings,
        block=task.block[row, accelerator],
        channels=channels,
        alone=(before < 0) & (images == 0),
        stripes=stripes,
        inside=inside,
        products=products,
        outputs=outputs,
        blocks=blocks,
        pieces=task.pieces[row],
        whole=np.where(scaled > SPLIT_DEPTH, scaled, MICRO_DEPTH),
        copy=np.maximum(each / far_rate + far_latency, each / near_rate + near_latency),
        unmoved=(stored / far_weights + far_latency) * readings,
        buffered=(stored / near_weights + near_latency) * readings,
        far_rate=far_rate,
        far_latency=far_latency,
        granule=np.maximum(scaled, SPLIT_DEPTH),
        micro=task.granule[row, accelerator],
        room=np.minimum(task.room[row, accelerator], room - images),
    )


def _before(busy: Flags, first: Flags) -> Int64:
    """Return the row of the operator before each one on each accelerator, -1 where there is none."""
    rows = np.arange(len(busy))[:, None]
    latest = np.maximum.accumulate(np.where(busy, rows, -1), axis=0)
    before = np.concatenate([np.full((1, busy.shape[1]), -1), latest[:-1]])
    begin = np.maximum.accumulate(np.where(first, rows[:, 0], 0))
    return np.where(before >= begin[:, None], before, -1)


def _buffers(pairs: Pairs, slack: Float64, beside: Float64) -> Float64:
    """Return _PARTS of each pair, float64[len(_PARTS), k], with `beside` bytes free beside the one before."""
    cycles, channels = pairs.cycles, pairs.channels
    dominated = pairs.direct > pairs.unmoved
    slices = cut(pairs, slack, dominated)
    several = slices.following > 0
    even = np.where(slices.following >= 3, slices.next, np.where(slices.following == 2, slices.last, 0.0))
    odd = np.where(slices.following >= 2, slices.next, slices.last)
    one, other = np.maximum(slices.first, even), np.where(several, odd, 0.0)
    late = np.where(slices.following % 2 == 1, other, one)
    bytes_each = pairs.stored / channels
    # Nothing is copied ahead within a cascade.
    early = ~pairs.inside & (round_up(one * bytes_each, SPLIT_DEPTH) < beside)
    kept = copying.kept(pairs, np.where(early, slack, 0.0), slack, beside, dominated, slices)
    one, other, late, begin = (
        np.where(kept, round_up(part * bytes_each, SPLIT_DEPTH), 0.0)
        for part in (one, other, late, slices.first)
    )
    whole = cycles / np.maximum(pairs.stripes, 1.0)
    after = np.where(several, slices.last_ran + leaving(pairs, slices.last), whole)
    rest = np.where(kept, after, pairs.direct) / pairs.pieces
    count = np.where(kept, 1.0 + slices.following, 1.0)
    return np.stack([one, one + other, late, begin, rest, kept, count, early])
