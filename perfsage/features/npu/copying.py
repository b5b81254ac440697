"""Whether an NPU's compiler copies an operator's weights to SRAM: where that is worth a try, and no slower.

The rules are those of Vela 5 (`ProposeSlicedWeightBuffering`).
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.slices import SPLIT_DEPTH, Pairs, Slices, growth, slice_bytes, waiting
from perfsage.features.npu.work import Flags, Float64, round_up

STARTUP_CYCLES = 1000.0
"""The first operator may wait so long for its weights."""
LEAST_FILLED = 0.3
"""Slices that fill less of a block than this are not worth it."""
_FEW_SLICES = 2.0
_HIDDEN = 20.0
"""What works in stripes has its weights copied where less than such a part of the copy is waited for."""


def kept(
    pairs: Pairs, usable: Float64, slack: Float64, beside: Float64, dominated: Flags, slices: Slices
) -> Flags:
    """Return for which pairs copying the weights ahead is tried, and is no slower, bool[k].

    `slack` float64[k] is how long the operator before runs at last, of which `usable` can hide a copy, and
    `beside` float64[k] the bytes that are free meanwhile; `dominated` bool[k] says whose weights take less
    time than everything else.
    """
    again = pairs.readings > 1
    smallest = pairs.copy * np.minimum(pairs.channels, SPLIT_DEPTH) / pairs.channels
    forced = pairs.alone & again & ((smallest < pairs.unmoved / 10) | (smallest <= STARTUP_CYCLES))
    waited_for = waiting(pairs, slices, np.where(forced, STARTUP_CYCLES, usable))
    once, size = _whole_readings(pairs), pairs.size / np.maximum(pairs.stripes, 1.0)
    near, far, fit = _input_cycles(pairs, slices, size)
    inputs = np.where(pairs.inside | (pairs.movable & fit), near, far)
    buffered = pairs.buffered * once + pairs.near_latency * pairs.readings * slices.following
    ran = pairs.cycles + growth(slices) + waited_for - _nearer(pairs)
    new_far = np.maximum(ran, buffered)
    new = np.maximum(new_far, inputs)
    count = 1.0 + slices.following
    old = np.maximum(pairs.direct, pairs.unmoved * once)
    worse = _rather_inputs(pairs, old, np.maximum(new_far, far), far) & (size < beside) & ~fit
    new = np.where(dominated & (waited_for / count < STARTUP_CYCLES), new - waited_for, new)
    new = np.where(dominated & (count > 1) & forced & (new == ran), new - count * STARTUP_CYCLES / 2, new)
    old = np.maximum(old, inputs)
    better = (new <= old) & (again | (pairs.copy + buffered <= old)) & ~_wasteful(pairs, dominated, slices)
    better &= ~worse
    return np.asarray(_tried(pairs, slack, dominated, forced, smallest) & better)


def _tried(pairs: Pairs, slack: Float64, dominated: Flags, forced: Flags, smallest: Float64) -> Flags:
    """Return where copying is worth a try; the `smallest` slice takes so many cycles, float64[k]."""
    late = np.maximum(pairs.copy - slack, 0.0)
    faster = pairs.buffered + late < pairs.unmoved
    tried = forced | faster | (np.floor(pairs.channels / pairs.block) > _FEW_SLICES)
    tried |= ~pairs.alone & (smallest < slack) & (pairs.readings > 1)
    times = np.maximum(np.ceil(pairs.stripes), 1.0)
    hidden = forced | (late < pairs.copy / _HIDDEN) | (late / times < STARTUP_CYCLES)
    striped = hidden & (faster | ~dominated) & (pairs.stored <= pairs.room)
    return np.where(pairs.stripes > 0, striped, tried)


def _whole_readings(pairs: Pairs) -> Float64:
    """Return what part of all readings of weights counts where inputs of one stripe are compared, float64[k].

    Whole blocks of each stripe read all weights; the last stripe may be lower, and counts for less.
    """
    times = np.maximum(np.ceil(pairs.stripes), 1.0)
    whole = np.ceil(pairs.readings / times / times) * np.maximum(pairs.stripes, 1.0)
    return np.asarray(whole / np.maximum(pairs.readings, 1.0))


def _nearer(pairs: Pairs) -> Float64:
    """Return what is saved within cascades, where what comes from the operator before is in SRAM."""
    moved = np.maximum(pairs.enter - pairs.edge_latency, 0.0) * pairs.far_input / pairs.near_input
    return np.where(pairs.inside, pairs.stripes * (pairs.enter - moved - pairs.near_latency), 0.0)


def _wasteful(pairs: Pairs, dominated: Flags, slices: Slices) -> Flags:
    some, made = slices.several, np.zeros(len(dominated), dtype=np.bool_)
    filled = slices.next[some] / round_up(slices.next[some], pairs.block[some])
    made[some] = dominated[some] & (slices.following[some] >= 2) & (filled < LEAST_FILLED)
    return made


def _passes(depth: Float64, channels: Float64) -> Float64:
    """Return how many passes of so much `depth`, which may be any, so many channels take, float64[k]."""
    return np.asarray(np.where(channels > 0, np.maximum(np.ceil(channels / depth), 1.0), 0.0))


def _rather_inputs(pairs: Pairs, direct: Float64, new: Float64, far: Float64) -> Flags:
    """Return where inputs are brought to SRAM rather than weights if not both fit, bool[k].

    `direct` float64[k] are the cycles with weights where they are, but for its inputs, and `new` those with
    weights in SRAM and inputs in DRAM, which take `far` to read.
    """
    one = pairs.input * _passes(pairs.pass_depth, pairs.channels) / np.maximum(pairs.stripes, 1.0)
    old = np.maximum(direct, one / pairs.near_input + pairs.near_latency)
    return pairs.movable & ~pairs.inside & (old < np.minimum(new, far))


def _input_cycles(pairs: Pairs, slices: Slices, size: Float64) -> tuple[Float64, Float64, Flags]:
    """Return what reading the inputs of all slices takes from SRAM and from where they are, float64[k].

    Then whether they fit into SRAM beside the weights, bool[k]; of one stripe where an operator works in
    stripes: `size` float64[k] bytes.
    """
    some = slices.several
    following, next_one, last = (part[some] for part in (slices.following, slices.next, slices.last))
    passes, weights = _passes(pairs.pass_depth, slices.first), slice_bytes(pairs, slices.first)
    depth, between = pairs.pass_depth[some], np.maximum(following - 1.0, 0.0)
    passes[some] += between * _passes(depth, next_one) + _passes(depth, last)
    weights[some] += slice_bytes(pairs, np.where(following > 1, next_one, last), some)
    read = pairs.input * passes
    near = read / pairs.near_input + pairs.near_latency
    far = read / pairs.far_input + pairs.edge_latency
    return near, far, size + weights <= pairs.room
