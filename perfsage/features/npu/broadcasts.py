"""Arithmetic with constants and with operands that are broadcast, on U55 and U65.

A constant is read from where constants are, for every element of the result. Where neither operand has the
shape of the result, zeros of that shape are added to one of them first (`ReplaceBroadcastWithAdd` in Vela 5).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.asked import asked
from perfsage.features.npu.blocks import choose_blocks
from perfsage.features.npu.bursts import constant_waste
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.ends import Ends
from perfsage.features.npu.fetch import stored
from perfsage.features.npu.formats import ARITHMETIC, BRICKS
from perfsage.features.npu.geometry import GEOMETRIES, OUTPUT_KINDS
from perfsage.features.npu.integers import TIMES
from perfsage.features.npu.work import ELEMENTWISE, Flags, Float64, Work
from perfsage.features.operands import Operands

_PLAIN = tuple(name for name in ARITHMETIC if name != "SQUARED_DIFFERENCE")
_ADDED = OUTPUT_KINDS.index("add")


def constant_elements(operands: Operands, draft: Draft, ends: Ends) -> Float64:
    """Return how many elements arithmetic reads from where constants are, float64[n]."""
    first, second = operands.constant[operands.data], operands.has_weight
    many = operands.elements[np.where(first, operands.data, operands.second)] > 1
    read = operands.is_type(*_PLAIN) & (draft.kind == ELEMENTWISE) & (first ^ second) & many
    # What is broadcast twice comes from the first of the two, in bricks.
    source = np.where(doubled(operands), BRICKS, ends.source)
    channels = np.where(first, draft.out[:, 2], stored(draft.out[:, 2], source))
    return np.where(read, draft.out[:, 0] * draft.out[:, 1] * channels, 0.0)


def doubled(operands: Operands) -> Flags:
    """Return which operators broadcast both of their operands, bool[n]."""
    both = operands.is_type(*_PLAIN).copy()
    rows = np.flatnonzero(both)
    whole = operands.dimensions[operands.result[rows]]
    for operand in (operands.data, operands.second):
        both[rows] &= (operands.dimensions[operand[rows]] != whole).any(axis=1)
    return both


def add_zeros(costs: Float64, columns: tuple[str, ...], work: Work) -> None:
    """Add the first of two broadcasts to `costs` float64[n, columns, accelerators]."""
    rows = np.flatnonzero(work.doubled & (work.kind == ELEMENTWISE))
    if not len(rows):
        return
    some = work.take(rows)
    area, depth = some.out_h * some.out_w, some.out_c
    bricks: NDArray[np.int64] = np.full(len(rows), BRICKS)
    written, read = area * stored(depth, bricks), area * depth
    for place in np.flatnonzero(asked()):
        geometry = GEOMETRIES[place]
        if geometry.generation != 85:
            blocks = choose_blocks(some, geometry)
            far = read * constant_waste(some, geometry.far.burst, blocks)
            taken = np.maximum(geometry.output_cycles[_ADDED] * written, far / geometry.far.rate)
            waits = costs[rows, columns.index("far"), place] / geometry.far.rate
            for name in TIMES:
                own = costs[rows, columns.index(name), place]
                costs[rows, columns.index(name), place] = np.maximum(own, waits) + taken
            for name, values in (("near", read + written), ("far", far)):
                costs[rows, columns.index(name), place] += values
