"""Which tensors the larger U85 keep in SRAM, and which do not fit beside the others and lie in DRAM.

What fits alone at all times stays, what is too large goes, and among those that compete the set is kept that
is read and written most. So does Vela 5 (`FastStorageAllocator`), after cascades.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.asked import asked_limits
from perfsage.features.npu.cascade_steps import Steps
from perfsage.features.npu.cascades import Ranges, Striped, in_stripes, live_of
from perfsage.features.npu.formats import ARITHMETIC
from perfsage.features.npu.keeping import MOST_COMPETING, best_kept
from perfsage.features.npu.work import SPILL_BYTES, Flags, Float64
from perfsage.features.operands import Operands

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spills:
    """At which limits of SPILL_BYTES each tensor lies in DRAM, int64[tensors + 1]: a bit for each, and more.

    `saved` float64[n, limits] is how much less is in SRAM then at each operator, and `heights`
    float64[n, limits] are those of the stripes that it is worked off in, 0 where it is not. `room`
    float64[n, limits] are the bytes that its weights find beside those.
    """

    beyond: Int64
    saved: Float64
    heights: Float64
    room: Float64


def stripes_of(
    operands: Operands,
    ranges: Ranges,
    steps: Steps | None,
    weights: Float64 | None = None,
    worth: Flags | None = None,
) -> list[Striped]:
    """Return what is in memory beside cascades, for each of SPILL_BYTES.

    `weights` float64[n, limits] are the bytes of weights and `worth` bool[n, limits] says whether to copy
    them, if more is known of them than `steps` say.
    """
    nothing = np.empty(0, dtype=np.int64)
    none = np.zeros(len(ranges.live))
    made = [Striped(ranges, nothing, nothing, none, none + np.inf)] * len(SPILL_BYTES)
    if steps is None:
        return made
    for place in asked_limits():
        known = steps
        if weights is not None and worth is not None:
            known = replace(steps, weights=weights[:, place], worth=worth[:, place])
        made[place] = in_stripes(operands, ranges, known, SPILL_BYTES[place])
    return made


def spilled(
    operands: Operands,
    ranges: Ranges,
    stripes: list[Striped],
    crossed: Int64,
    ahead: Float64,
    accesses: Callable[[], tuple[Float64, Flags]],
) -> Spills:
    """Return what lies in DRAM where not everything fits into SRAM, and what is `crossed` by the CPU's work.

    `ahead` float64[n, limits] are the bytes of weights that are in SRAM in any case, and `accesses` returns
    float64[tensors + 1, limits], those of each root that are read and written, and bool[n], what is done on
    the way out of another. Mostly nobody asks for them.
    """
    made = crossed.copy()
    saved, heights = np.zeros((2, len(ranges.live), len(SPILL_BYTES)))
    room = np.stack([striped.room for striped in stripes], axis=1)
    tight = [
        place for place in asked_limits() if _is_tight(stripes[place], ahead[:, place], SPILL_BYTES[place])
    ]
    if not tight:
        return Spills(made, saved, heights, room)
    often, chained = accesses()
    # What comes from the operator before was in no memory.
    both = operands.is_type(*ARITHMETIC) & (operands.second < operands.absent) & ~chained
    pairs = np.stack([operands.data[both], operands.second[both]])
    for place in tight:
        striped = stripes[place]
        each = striped.ranges
        heights[:, place] = striped.heights
        out = _out(replace(each, live=each.live + ahead[:, place]), often[:, place], SPILL_BYTES[place])
        saved[:, place] = ranges.live - each.live + live_of(each, out)
        out = out[each.root]
        # Arithmetic has both of its operands in the same memory.
        for side in pairs:
            np.logical_or.at(out, side, out[pairs].any(axis=0))
        out[striped.left] = True
        out[striped.between] = False
        made |= np.where(out, 1 << place, 0)
    return Spills(made, saved, heights, room)


def _is_tight(striped: Striped, ahead: Float64, limit: int) -> bool:
    """Return whether not everything fits beside weights of so many bytes, float64[n], or is in stripes."""
    return bool((striped.ranges.live + ahead).max(initial=0.0) > limit or len(striped.between))


def _out(ranges: Ranges, accesses: Float64, limit: int) -> NDArray[np.bool_]:
    """Return which roots do not stay, bool[tensors + 1]."""
    out = np.zeros(len(ranges.root), dtype=np.bool_)
    used = np.flatnonzero((ranges.bytes > 0) & (ranges.last >= ranges.first))
    used = used[np.argsort(ranges.first[used], kind="stable")]
    if len(used):
        # What fits at all times beside everything else takes no room from the rest.
        tight = used[_peaks(ranges, used) > limit]
        out[tight] = _evicted(ranges, tight, accesses[tight], limit) if len(tight) else False
    return out


def _peaks(ranges: Ranges, used: Int64) -> Float64:
    """Return the most bytes that are alive together with each of `used`."""
    bounds = np.stack([ranges.first[used], ranges.last[used] + 1], axis=1).ravel()
    return np.asarray(np.maximum.reduceat(np.append(ranges.live, 0.0), bounds)[::2])


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
        kept = best_kept(first[group], last[group] + 1, size[group], accesses[group], limit - least)
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
