"""How an operator is cut so that its weights can be copied while it runs: slices of output channels.

The first slice is as deep as can be copied while the operator before runs, each of the next ones as deep as
can be while the one before it runs. The rules are those of Vela 5 (`ProposeSlicedWeightBuffering`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import Flags, Float64, round_up

SPLIT_DEPTH = 16.0
"""Channels are cut in multiples of this."""
_PADDING = 0.25
"""What a channel of zeros takes of what one of weights does: two of about eight bits."""
_LAST = np.array([[False], [True], [True]])
"""Of slices one after the other, of their last one, and of all channels at once, which is last."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """The tasks of k pairs of an operator and an accelerator, float64[k], with what copies would take.

    `stored` are the bytes of weights and scales, `copy` the cycles of copying them, `unmoved` and `buffered`
    those of reading them where they are and in SRAM. `cycles` and `direct` are planned ones, with weights in
    SRAM and where they are, and `enter` and `leave` those of the first and of the last transfer; `real` is
    what the operator takes at last. `alone` bool[k] has no operator before it. `input` are the bytes that
    one pass over the image reads, of at most `pass_depth` channels of outputs, `size` those of the input,
    and `movable` bool[k] says whether these may be brought to SRAM. `stripes` are those of a cascade that is
    worked off without slices, `inside` bool[k] is not the first there. `products` and `outputs` are the
    cycles of either alone in so many `blocks`, products for `whole` channels at once. It is
    done in so many `pieces`, one after the other. Scales come for `micro` channels at once.
    """

    stored: Float64
    real: Float64
    cycles: Float64
    direct: Float64
    enter: Float64
    leave: Float64
    input: Float64
    size: Float64
    pass_depth: Float64
    movable: Flags
    readings: Float64
    block: Float64
    channels: Float64
    alone: Flags
    copy: Float64
    unmoved: Float64
    buffered: Float64
    near_latency: Float64
    near_input: Float64
    far_rate: Float64
    far_latency: Float64
    far_input: Float64
    edge_latency: Float64
    write_latency: Float64
    granule: Float64
    micro: Float64
    room: Float64
    stripes: Float64
    inside: Flags
    products: Float64
    outputs: Float64
    blocks: Float64
    pieces: Float64
    whole: Float64

    def take(self, places: NDArray[np.int64]) -> Pairs:
        """Return some of the pairs."""
        return Pairs(*(getattr(self, name).take(places) for name in _FIELDS))


_FIELDS = tuple(field.name for field in fields(Pairs))


@dataclass(frozen=True, slots=True)
class Slices:
    """Channels of the first slice, of each following one and of the last, and how many follow, float64[k].

    Then the places of pairs that have several slices, int64[m], and of these what `run` says of each slice
    and of the operator as a whole, and what the last one takes until its outputs are away, float64[m].
    """

    first: Float64
    next: Float64
    last: Float64
    following: Float64
    several: NDArray[np.int64]
    first_ran: Float64
    next_ran: Float64
    last_ran: Float64
    whole_ran: Float64
    ended: Float64


def cut(pairs: Pairs, slack: Float64, dominated: Flags) -> Slices:
    """Return slices such that the first is there in time, and each next one while the one before runs.

    Where one slice has all channels, `next` says as many, and `last` and `following` 0: nearly all have one,
    and what further ones would take is not worked out for them.
    """
    channels, share, room = pairs.channels, slack / pairs.copy, pairs.room / 2 / pairs.stored
    first = channels.copy()
    part = np.flatnonzero(((share < 1.0) | (room < 1.0)) & (pairs.stripes == 0))
    first[part] = _first(channels[part], pairs.granule[part], share[part], room[part], dominated[part])
    several = np.flatnonzero(first < channels)
    following, last, count = lengths = np.stack([first, *np.zeros((2, len(first)))])
    lengths[:, several], ran = _following(pairs.take(several), first[several], room[several])
    return Slices(first, following, last, count, several, *ran)


def _first(channels: Float64, granule: Float64, share: Float64, room: Float64, dominated: Flags) -> Float64:
    """Return the channels of first slices, float64[k], given the `share` that can be copied in time.

    `room` says for which share of the channels two buffers have room.
    """
    smallest = np.minimum(SPLIT_DEPTH / channels, 1.0)
    share = np.minimum(share, 1.0)
    aligned = np.floor(share / smallest + 1e-9) * smallest
    share = np.where(1.0 - aligned < smallest / 2, 1.0, share)
    half = np.clip(round_up(np.floor(channels / 2), SPLIT_DEPTH) / channels, 0.5, 1.0)
    share = np.where(dominated & (share > 0.5) & (share < 1.0), half, share)
    # Two buffers may have room for more channels than there are.
    share = np.minimum(np.maximum(share, smallest), np.minimum(room, 1.0))
    first = np.maximum(np.floor(channels * share / granule) * granule, SPLIT_DEPTH)
    return np.where(share >= 1.0, channels, np.minimum(first, channels))


def _following(pairs: Pairs, first: Float64, room: Float64) -> tuple[Float64, tuple[Float64, ...]]:
    """Return `next`, `last` and `following` of Slices, float64[3, m], and what they take, float64[m] each.

    `first` are the channels of the first slices, and `room` says for which share of the channels two buffers
    have room.
    """
    channels, block, granule = pairs.channels, pairs.block, pairs.granule
    ran = run(pairs, first)
    filled = np.floor(channels * (ran + pairs.enter) / pairs.copy)
    following = round_up(np.maximum(filled, SPLIT_DEPTH), block)
    following = np.minimum(following, np.maximum(channels * room, SPLIT_DEPTH))
    unit = np.where(following > block, block, granule)
    following = np.maximum(np.floor(following / unit) * unit, granule)
    rest = channels - first
    count = np.ceil(rest / following)
    last = rest - np.maximum(count - 1.0, 0.0) * following
    each, ended, whole = run(pairs, np.stack([following, last, channels]), _LAST)
    return np.stack([following, last, count]), (ran, each, ended, whole, ended + leaving(pairs, last))


def run(pairs: Pairs, depth: Float64, last: Flags | bool = False) -> Float64:
    """Return the planned cycles of so many channels, float64[..., k], but for the first and last transfer.

    Products are made for whole microblocks, and commands have to be issued for every block, even where fewer
    channels are wanted. The `last` slice waits for the outputs of its last block.
    """
    block, depth = np.minimum(pairs.block, pairs.channels), np.maximum(depth, 1.0)
    deep = np.minimum(block, depth)
    share, whole, part = (round_up(c, pairs.whole) for c in (depth, block, deep))
    share /= round_up(pairs.channels, pairs.whole)
    count = pairs.blocks * share * whole / part
    products, outputs = pairs.products * share / count, pairs.outputs * depth / pairs.channels / count
    apart = np.where(count > 1, abs(leaving(pairs, deep) - pairs.enter), 0.0)
    issued = (apart + products + outputs) / 4.0
    products, outputs = np.maximum(products, issued), np.maximum(outputs, issued)
    longest, shortest = np.maximum(products, outputs), np.minimum(products, outputs)
    return longest * count + np.where((products > outputs) & np.logical_not(last), 0.0, shortest)


def leaving(pairs: Pairs, depth: Float64) -> Float64:
    """Return the planned cycles until the last block of so many channels is away, float64[..., k].

    What is written shrinks with the channels, how long memory takes to answer does not.
    """
    block = np.minimum(pairs.block, pairs.channels)
    share = np.minimum(np.maximum(depth, 1.0) / block, 1.0)
    return np.asarray(pairs.write_latency + (pairs.leave - pairs.write_latency) * share)


def slice_bytes(pairs: Pairs, channels: Float64, places: NDArray[np.int64] | slice = slice(None)) -> Float64:
    """Return the bytes of weights and scales of slices of so many channels of the pairs in `places`.

    Slices fill up their microblocks, which takes a part of what as many channels would.
    """
    stored, whole, micro = (column[places] for column in (pairs.stored, pairs.channels, pairs.micro))
    bytes_each = stored / _filled(whole, micro)
    return bytes_each * np.where(channels > 0, _filled(channels, micro), 0.0)


def sliced_share(pairs: Pairs, slices: Slices) -> Float64:
    """Return how many times as many bytes all slices have as all channels at once, float64[k]."""
    some, made = slices.several, np.ones(len(slices.first))
    first, each, last = (
        slice_bytes(pairs, channels[some], some) for channels in (slices.first, slices.next, slices.last)
    )
    made[some] = (first + (slices.following[some] - 1.0) * each + last) / pairs.stored[some]
    return made


def _filled(channels: Float64, micro: Float64) -> Float64:
    return channels + _PADDING * np.maximum(round_up(channels, np.maximum(micro, 1.0)) - channels, 0.0)


def growth(slices: Slices) -> Float64:
    """Return how many cycles more all slices take than the operator as a whole, float64[k]."""
    following, made = slices.following[slices.several], np.zeros(len(slices.first))
    parts = slices.first_ran + (following - 1.0) * slices.next_ran + slices.last_ran
    made[slices.several] = np.maximum(parts - slices.whole_ran, 0.0)
    return made


def waiting(pairs: Pairs, slices: Slices, slack: Float64) -> Float64:
    """Return the cycles in which an operator waits for weights, given those that hide the first slice."""
    some = slices.several
    made = np.maximum(slice_bytes(pairs, slices.first) / pairs.far_rate + pairs.far_latency - slack, 0.0)
    rate, latency, enter = pairs.far_rate[some], pairs.far_latency[some], pairs.enter[some]
    following, channels = slices.following[some], slices.next[some]

    def wait(channels: Float64, hidden: Float64) -> Float64:
        return np.maximum(slice_bytes(pairs, channels, some) / rate + latency - hidden, 0.0)

    second = np.where(following > 1, channels, np.minimum(channels, slices.last[some]))
    more = wait(channels, slices.next_ran) * np.maximum(following - 1.0, 0.0)
    made[some] += wait(second, slices.first_ran + enter) + more
    return made
