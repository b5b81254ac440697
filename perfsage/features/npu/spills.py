"""Which tensors the larger U85 keep in SRAM, and which do not fit beside the others and lie in DRAM.

What fits alone at all times stays, what is too large goes, and among those that compete the set is kept that
is read and written most. So does Vela 5 (`FastStorageAllocator`), after cascades, which are not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import ARITHMETIC, FUNCTIONS
from perfsage.features.npu.work import SPILL_BYTES, Float64
from perfsage.features.operands import Operands

Int64 = NDArray[np.int64]
_STRIPED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", *ARITHMETIC, *FUNCTIONS)
MOST_COMPETING = 10
"""So many are tried in all combinations; of more, the first ones are settled before the rest."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """When what is in memory, as an NPU shares it: of the tensors with the same `root` int64[tensors + 1].

    `first` and `last` int64 and `bytes` float64, all [tensors + 1] at the roots; `live` float64[n] are the
    bytes of all of them at each time.
    """

    root: Int64
    first: Int64
    last: Int64
    bytes: Float64
    live: Float64


def spilled(operands: Operands, ranges: Ranges) -> Int64:
    """Return at which limits of SPILL_BYTES each tensor lies in DRAM, int64[tensors + 1]: a bit for each."""
    made = np.zeros(len(ranges.root), dtype=np.int64)
    live = ranges.live
    if not len(live) or live.max() <= SPILL_BYTES[0]:
        return made
    used = np.flatnonzero((ranges.bytes > 0) & (ranges.last >= ranges.first))
    used = used[np.argsort(ranges.first[used], kind="stable")]
    accesses = _accesses(operands, ranges)
    peaks = _peaks(ranges, used)
    for bit, limit in enumerate(SPILL_BYTES):
        # What fits at all times beside everything else takes no room from the rest.
        tight = used[peaks > limit]
        if len(tight):
            made[tight[_evicted(ranges, tight, accesses[tight], limit)]] |= 1 << bit
    made = made[ranges.root]
    both = operands.is_type(*ARITHMETIC) & (operands.second < operands.absent)
    pairs = np.stack([operands.data[both], operands.second[both]])
    # Arithmetic has both of its operands in the same memory.
    for side in pairs:
        np.bitwise_or.at(made, side, np.bitwise_or.reduce(made[pairs], axis=0))
    return made


def evicted_bytes(operands: Operands, ranges: Ranges, made: Int64) -> Float64:
    """Return the bytes alive at each time that lie in DRAM at every limit, float64[n].

    Not those between two operators that Vela may work off together, stripe by stripe: stripes fill SRAM.
    """
    if not made.any():
        return np.zeros(len(ranges.live))
    able = operands.is_type(*_STRIPED)
    ends = np.zeros((2, len(made)), dtype=np.bool_)
    ends[0, ranges.root[operands.result[able]]] = True
    ends[1, ranges.root[operands.data[able]]] = True
    made = np.where(ends.all(axis=0), 0, made)
    gone = np.flatnonzero((made == (1 << len(SPILL_BYTES)) - 1) & (ranges.bytes > 0))
    gone = gone[(ranges.root[gone] == gone) & (ranges.last[gone] >= ranges.first[gone])]
    change = np.zeros(len(ranges.live) + 1)
    np.add.at(change, ranges.first[gone], ranges.bytes[gone])
    np.add.at(change, ranges.last[gone] + 1, -ranges.bytes[gone])
    return np.asarray(np.maximum(np.cumsum(change)[:-1], 0.0))


def _peaks(ranges: Ranges, used: Int64) -> Float64:
    """Return the most bytes that are alive together with each of `used`."""
    bounds = np.stack([ranges.first[used], ranges.last[used] + 1], axis=1).ravel()
    return np.asarray(np.maximum.reduceat(np.append(ranges.live, 0.0), bounds)[::2])


def _accesses(operands: Operands, ranges: Ranges) -> Float64:
    """Return how many bytes of each root are read and written."""
    made = ranges.bytes.copy()
    sources = np.concatenate([operands.data, operands.second])
    np.add.at(made, ranges.root[sources], ranges.bytes[ranges.root[sources]])
    return made


def _evicted(ranges: Ranges, used: Int64, accesses: Float64, limit: int) -> NDArray[np.bool_]:
    """Return which of `used` do not stay, bool[k]."""
    first, last, size = ranges.first[used], ranges.last[used], ranges.bytes[used]
    spans = [slice(begin, end + 1) for begin, end in zip(first.tolist(), last.tolist(), strict=True)]
    most = ranges.live.copy()
    least = most.copy()
    for span, bytes_ in zip(spans, size.tolist(), strict=True):
        least[span] -= bytes_
    least = np.maximum(least, 0.0)
    out = np.array([least[span].max() + bytes_ > limit for span, bytes_ in zip(spans, size, strict=True)])
    for place in np.flatnonzero(out).tolist():
        most[spans[place]] -= size[place]
    competing = []
    for place in np.flatnonzero(~out).tolist():
        if most[spans[place]].max() <= limit:
            least[spans[place]] += size[place]
        else:
            competing.append(place)
    for group in _groups(competing, first, last):
        kept = _best(group, spans, size, accesses, limit - least)
        for place, stays in zip(group, kept.tolist(), strict=True):
            out[place] = not stays
            least[spans[place]] += size[place] * stays
    return out


def _groups(places: list[int], first: Int64, last: Int64) -> list[list[int]]:
    """Return those that are alive at the same time together, MOST_COMPETING at once."""
    groups: list[list[int]] = []
    end = -1
    for place in places:
        if not groups or first[place] > end or len(groups[-1]) == MOST_COMPETING:
            groups.append([])
            end = -1
        groups[-1].append(place)
        end = max(end, int(last[place]))
    return groups


def _best(
    group: list[int], spans: list[slice], size: Float64, accesses: Float64, room: Float64
) -> NDArray[np.bool_]:
    """Return which ones to keep, bool[len(group)]: those that are accessed most of what fits into `room`."""
    begin = np.array([spans[place].start for place in group])
    end = np.array([spans[place].stop for place in group])
    # Between two of these, the same tensors are alive: one time stands for all.
    edges = np.unique(np.concatenate([begin, end]))
    least = np.minimum.reduceat(room[: edges[-1]], edges[:-1])
    alive = ((begin[:, None] <= edges[:-1]) & (edges[:-1] < end[:, None])) * size[group, None]
    # From all to none, in the order in which Vela meets them.
    count = 1 << len(group)
    choices = (np.arange(count)[::-1, None] >> np.arange(len(group))[::-1]) & 1
    fits = (choices @ alive <= least).all(axis=1)
    score = np.where(fits, choices @ accesses[group], -1.0)
    return np.asarray(choices[score.argmax()] == 1)
