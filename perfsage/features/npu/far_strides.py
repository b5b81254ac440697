"""Convolutions whose stride is beyond what the hardware can do: one for each output, where nothing is padded.

Each of these pieces has the same weights copied, while the one before it runs. An activation follows them
all, as an operator of its own (Vela 5, `UnrollKernelStrides` and `CanPack`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfsage.features.npu.prefetch import Prefetch
from perfsage.features.npu.slices import SPLIT_DEPTH
from perfsage.features.npu.tasks import FAR, NEAR
from perfsage.features.npu.work import BY_KERNEL, BY_OUTPUT, Float64, Work, round_up

_NEAR_WEIGHTS, _NEAR_LATENCY = np.array(NEAR).T[1:]
_FAR_RATE, _FAR_WEIGHTS, _FAR_LATENCY = np.array(FAR).T


def fetched_in_pieces(fetch: Prefetch, cost: dict[str, Float64], coded: Float64, work: Work) -> Prefetch:
    """Return `fetch` with the waits of such convolutions; `coded` float64[n, d] are the bytes of weights."""
    rows, each = np.flatnonzero(work.far == BY_OUTPUT), np.flatnonzero(work.far == BY_KERNEL)
    if len(each):
        # All but the first have their scales copied while the one before them runs.
        cycles = fetch.cycles.copy()
        cycles[each] = cost["cycles"][each]
        fetch = replace(fetch, cycles=cycles)
    if not len(rows):
        return fetch
    pieces = work.batch[rows, None]
    cycles, planned, direct = (cost[name][rows] / pieces for name in ("cycles", "planned", "cycles_direct"))
    stored = round_up(coded[rows] + cost["scale"][rows] / pieces, SPLIT_DEPTH)
    copy = stored / _FAR_RATE + _FAR_LATENCY
    unmoved, buffered = stored / _FAR_WEIGHTS + _FAR_LATENCY, stored / _NEAR_WEIGHTS + _NEAR_LATENCY
    late = np.maximum(copy - planned, 0.0)
    kept = (buffered + late < unmoved) | ((planned <= unmoved) & (buffered < unmoved))
    columns = {name: getattr(fetch, name).copy() for name in ("kept", "ahead", "first", "cycles")}
    columns["kept"][rows] = kept
    columns["ahead"][rows] = np.where(kept, stored, 0.0)
    columns["first"][rows] = coded[rows]
    columns["cycles"][rows] = np.where(kept, np.maximum(copy, cycles + late), direct) * pieces
    return replace(fetch, **columns)
