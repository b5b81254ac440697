"""Cycles that Ethos-U accelerators take for operators, by Arm's own estimate, before fusion and memory.

The estimate cuts the outputs into blocks, and a block takes as long as its products or its outputs, whichever
is more. Which block that is decide `blocks` and `blocks_u85`. The formulas are those of Vela 5
(`EstimateConvCycles` and what it calls), written for many operators at once. What is waited for is added by
`prefetch`, and what cascades are `cascades` says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.asked import asked
from perfsage.features.npu.broadcasts import add_zeros
from perfsage.features.npu.broken import break_up, scale_back
from perfsage.features.npu.generations import costs_u55, costs_u85
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85, Geometry
from perfsage.features.npu.integers import TIMES
from perfsage.features.npu.parts_u85 import by_parts
from perfsage.features.npu.turns import turning
from perfsage.features.npu.work import (
    NOTHING,
    PRODUCT,
    SQUARES,
    Work,
)

Float64 = NDArray[np.float64]
COSTS = (
    *TIMES,
    *("near", "near_alone", "far", "far_alone", "scale", "input"),
    *("products", "outputs", "blocks", "enter", "leave", "readings", "depth", "micro", "elements"),
)
"""Columns of `npu_costs`: cycles with scales and biases from SRAM and from where constants are, the same with
activations at the graph's ends, as plans are made; bytes as in `fetch`; the cycles of products and of outputs
alone, and how many blocks there are; the planned cycles of the first and of the last transfer, how often
weights are read, the channels of a block and of U85's microblocks, and how many weights there are with their
padding."""
_BATCHED = COSTS.index("enter")
_REMEMBERED = 1 << 16
_AT_ONCE = 256
"""Operators whose blocks are searched together: each has up to 2,500 candidates."""
_known: dict[bytes, Float64] = {}
"""Cycles by who does what: networks repeat operators, and those of one search each other's."""


def npu_costs(work: Work) -> Float64:
    """Return float64[n, len(COSTS), len(GEOMETRIES)], a view of one piece for each cost; 0 for views."""
    places: dict[bytes, int] = {}
    whom = asked().tobytes()
    which = np.array([places.setdefault(whom + key, len(places)) for key in work.row_keys()])
    known = _remembered(work, list(places), np.unique(which, return_index=True)[1])
    costs: Float64 = np.ascontiguousarray(np.moveaxis(known, 1, 0)).take(which, axis=1)
    if (work.batch != 1.0).any():
        costs[:_BATCHED] *= work.batch[:, None]
    if (work.groups != 1.0).any():
        costs[-1] *= work.groups[:, None]
    return np.moveaxis(costs, 0, 1)


def _remembered(work: Work, keys: list[bytes], rows: NDArray[np.int64]) -> Float64:
    """Return the costs of each key, whose work is in that row, float64[keys, costs, accelerators]."""
    # What is found is held here as well: another thread may make room in the meantime.
    found = [_known.get(key) for key in keys]
    missing = [place for place, costs in enumerate(found) if costs is None]
    if missing:
        made = _in_parts(work.take(rows[missing]))
        if len(_known) + len(missing) > _REMEMBERED:
            _known.clear()
        for place, costs in zip(missing, made, strict=True):
            _known[keys[place]] = found[place] = costs
    return np.stack([costs for costs in found if costs is not None])


def _in_parts(work: Work) -> Float64:
    """Return what `_estimate` does, for operators of like sizes together: the largest says what is tried."""
    made = np.empty((len(work), len(COSTS), len(GEOMETRIES)))
    order = np.lexsort((work.out_c, work.out_w, work.out_h))
    for at in range(0, len(work), _AT_ONCE):
        part = order[at : at + _AT_ONCE]
        made[part] = _estimate(work.take(part))
    return made


def _estimate(work: Work) -> Float64:
    """Return what `npu_costs` gives, without its memory and for one of each batch."""
    made = np.zeros((len(work), len(COSTS), len(GEOMETRIES)))
    broken = (work.kind == PRODUCT) | (work.kind == SQUARES)
    busy = np.flatnonzero((work.kind != NOTHING) & ~((work.kind == SQUARES) & (work.kind_u85 == SQUARES)))
    (old, old_places), (new, new_places) = _asked_of(0), _asked_of(1)
    if len(busy) and old:
        # Nothing is done on the way out there but functions.
        plain = replace(work.take(busy), chained=np.zeros(len(busy)))
        made[busy[:, None], :, old_places] = costs_u55(plain, old)
    if len(busy) and new:
        costs = partial(costs_u85, geometries=new)
        made[busy[:, None], :, new_places] = by_parts(work.take(busy), costs, partial(_awaited, new))
    if broken.any():
        break_up(made, COSTS, work)
    if work.turned.any() and new:
        _add_turns(made, work, new, new_places)
    if work.doubled.any():
        add_zeros(made, COSTS, work)
    if (work.wide > 1).any():
        scale_back(made, work)
    # What nobody asked for costs what it costs a relative: plans are made of finite numbers for all.
    for u85, places in enumerate((old_places, new_places)):
        rest = [place for place, is_u85 in enumerate(IS_U85) if is_u85 == u85 and place not in places]
        made[:, :, rest] = made[:, :, places[:1]]
    return made


def _asked_of(u85: int) -> tuple[tuple[Geometry, ...], list[int]]:
    """Return the accelerators that are asked for, U85 or those before it, and their positions."""
    places = [int(place) for place in np.flatnonzero(asked()) if IS_U85[place] == u85]
    return tuple(GEOMETRIES[place] for place in places), places


def _awaited(geometries: tuple[Geometry, ...], costs: Float64) -> Float64:
    """Return how long what `costs_u85` says takes with its memory in SRAM, float64[n, accelerators]."""
    near = costs[:, :, [COSTS.index("near"), COSTS.index("near_alone")]].max(axis=2)
    return np.asarray(near / [geometry.near.rate for geometry in geometries])


def _add_turns(made: Float64, work: Work, geometries: tuple[Geometry, ...], places: list[int]) -> None:
    """Add the transposes that products do themselves on U85 to what `_estimate` returns."""
    rows = np.flatnonzero(work.turned)
    extra = costs_u85(turning(work.take(rows)).for_u85(), geometries)
    rates = np.array([geometry.near.rate for geometry in geometries])
    waited = extra[:, :, COSTS.index("near")] / rates
    for column in range(len(TIMES)):
        made[rows[:, None], column, places] += np.maximum(extra[:, :, column], waited)
