"""Operators that Vela breaks up into several, each of which waits for the one before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.asked import asked
from perfsage.features.npu.geometry import GEOMETRIES, Geometry
from perfsage.features.npu.integers import TIMES, Costs
from perfsage.features.npu.products import product_costs
from perfsage.features.npu.squares import square_costs
from perfsage.features.npu.work import NOTHING, PRODUCT, SQUARES, Float64, Work

_FORMULAS: dict[int, Callable[[Work, Geometry], Costs]] = {PRODUCT: product_costs, SQUARES: square_costs}


def break_up(costs: Float64, columns: tuple[str, ...], work: Work) -> None:
    """Put what operators take that are broken up into `costs` float64[n, columns, accelerators]."""
    new = work.for_u85() if (work.kind == SQUARES).any() or (work.kind_u85 == SQUARES).any() else work
    for kind, formula in _FORMULAS.items():
        for place in np.flatnonzero(asked()):
            geometry = GEOMETRIES[place]
            done = new if geometry.generation == 85 else work
            if geometry.generation == 85 and kind == PRODUCT:
                continue
            rows = np.flatnonzero(done.kind == kind)
            if len(rows):
                _put(costs, columns, formula(done.take(rows), geometry), rows, int(place))


def scale_back(costs: Float64, work: Work) -> None:
    """Add to the cycles the multiplication that makes bytes of a mean, which is an integer."""
    rows = np.flatnonzero((work.wide > 1) & (work.kind != NOTHING))
    count = work.out_h[rows] * work.out_w[rows] * work.out_c[rows]
    for place, geometry in enumerate(GEOMETRIES):
        cycles = geometry.integer_cycles
        costs[rows, : len(TIMES), place] += (count * (cycles.chained or cycles.two))[:, None]


def _put(costs: Float64, columns: tuple[str, ...], made: Costs, rows: NDArray[np.int64], place: int) -> None:
    values = dict.fromkeys(TIMES, made.cycles) | {"near": made.near, "far": made.far}
    for position, name in enumerate(columns):
        costs[rows, position, place] = values.get(name, 1.0 if name in ("readings", "depth") else 0.0)
