"""Largest values, their places and sums on an NPU: what all that its compiler makes of them takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.axes import reduced_axes
from perfsage.features.npu.cycles import COSTS, npu_costs
from perfsage.features.npu.fetch import AWAITED, CODED, CYCLES, FAR, NEAR, SCALE_BYTES, SRAM
from perfsage.features.npu.formats import LINEAR, REDUCTIONS
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85, OUTPUT_KINDS
from perfsage.features.npu.pace import paced
from perfsage.features.npu.reduction_parts import Part, parts_of
from perfsage.features.npu.work import CROSSING_BITS, POOLING, TRANSPOSED, Flags, Float64, Work
from perfsage.features.operands import Operands, type_flags
from perfsage.graph import Subgraph

TABLE_BYTES = 2048.0
"""Values of 16 bits go through a table of so many bytes."""
_WEIGHT_BYTES = 36.0
_MADE = (CYCLES, NEAR, FAR, AWAITED, SRAM)
"""The columns of NPUs that parts have: all but what is stored, and what is copied ahead."""
_U85 = np.array(IS_U85, dtype=np.bool_)
_NEAR, _FAR = np.array([(g.near.rate, g.far.rate) for g in GEOMETRIES]).T
_SHORTS = np.array([1.0 if g.macs == 32 else 2.0 for g in GEOMETRIES])
"""How much longer pooling 16 bits takes."""


def add_reductions(made: Float64, subgraph: Subgraph, operands: Operands, work: Work) -> None:
    """Replace the rows of reductions in the columns of NPUs, float64[n, columns, d]."""
    rows = np.flatnonzero(operands.is_type(*REDUCTIONS))
    if not len(rows):
        return
    kinds = [operands.is_type(name) for name in ("ARG_MAX", "SUM", "REDUCE_MIN")]
    kinds.append(type_flags(("INT64",))[operands.tensor_type][operands.result])
    axes = reduced_axes(subgraph.columns, operands, rows)
    sizes = operands.dimensions[operands.data[rows]].tolist()
    parts = [
        list(parts_of(size, over, *(bool(kind[row]) for kind in kinds)))
        for row, size, over in zip(rows.tolist(), sizes, axes, strict=True)
    ]
    counts = np.array([len(each) for each in parts])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    flat = [part for each in parts for part in each]
    costs = _costs(flat, _work(flat, work, np.repeat(rows, counts)))
    made[rows[:, None], _MADE] = np.add.reduceat(costs, starts, axis=0)
    placed = rows[kinds[0][rows]]
    depth = operands.dimensions[operands.data[placed], 3][:, None]
    made[placed, CODED] = np.where(_U85, 0.0, TABLE_BYTES + _WEIGHT_BYTES + SCALE_BYTES * depth)


def _costs(parts: list[Part], work: Work) -> Float64:
    """Return cycles and bytes of each part as in the columns of NPUs, float64[parts, len(_MADE), d].

    Bytes of weights are left out: these are few.
    """
    costs = npu_costs(work)
    cost = {name: costs[:, position] for position, name in enumerate(COSTS)}
    times = np.where(_U85, [[part.new] for part in parts], [[part.old] for part in parts])
    shorts = np.where(_U85 | ~np.array([[part.shorts] for part in parts]), 1.0, _SHORTS)
    near_each, far_each = np.array([(part.near_each, part.far_each) for part in parts]).T[:, :, None]
    near_each = near_each * np.where(shorts > 1, 2.0, 1.0)
    near = np.maximum(cost["near"], cost["near_alone"]) * near_each
    # U85 sums without scales.
    scales = np.where(_U85, 0.0, cost["scale"])
    outer = cost["far"] * far_each + scales
    far = np.maximum(outer, cost["far_alone"] * far_each)
    # Products take longer, transfers do not.
    blocks = np.maximum(cost["blocks"], 1.0)
    given = cost["outputs"] / blocks, blocks, np.zeros(1), np.zeros(1)
    longer, before = (paced(times * cost["products"] / blocks, *given) for times in (shorts, 1.0))
    busy = np.where(_U85, cost["cycles"], cost["cycles_direct"]) + longer - before
    cycles = np.maximum(busy, np.maximum(near / _NEAR, far / _FAR))
    return np.stack([cycles, near, outer, far, cost["near"] * near_each], axis=1) * times[:, None]


def _work(parts: list[Part], work: Work, rows: NDArray[np.int64]) -> Work:
    """Return the parts as work: the first reads what the operator reads, the last writes its result."""
    taken = work.take(rows)
    made = work.plain(len(parts))
    kind = np.array([part.kind for part in parts])
    made["kind"], made["kind_u85"] = kind, np.where(kind == TRANSPOSED, POOLING, kind)
    made["output"] = np.array([OUTPUT_KINDS.index(part.output) for part in parts])
    for name, sizes in (("out", [part.out for part in parts]), ("in", [part.into for part in parts])):
        for axis, values in zip("hwc", np.array(sizes).T, strict=True):
            made[f"{name}_{axis}"] = np.maximum(values, 1.0)
    for axis, values in zip("hw", np.array([part.kernel for part in parts]).T, strict=True):
        made[f"kernel_{axis}"] = made[f"span_{axis}"] = values
    old, new = ([part.old for part in parts], [part.new for part in parts])
    # What lies in DRAM is not the same on U55 and U65 as on U85, and neither are the first and the last part.
    bits = CROSSING_BITS[0]
    for suffix, done, mask in (("", old, bits), ("_u85", new, ~bits)):
        for name, where in zip(("source", "target"), _ends(rows, np.array(done) > 0), strict=True):
            made[name + suffix] = np.where(where, getattr(taken, name + suffix), LINEAR)
            made[f"{name}_spill"] |= np.where(where, getattr(taken, f"{name}_spill") & mask, 0)
    return Work(**made)


def _ends(rows: NDArray[np.int64], done: Flags) -> tuple[Flags, Flags]:
    """Return which parts are the first and the last of their operator that are `done`, each bool[parts]."""
    first, last = np.zeros((2, len(rows)), dtype=np.bool_)
    active = np.flatnonzero(done)
    change = rows[active][1:] != rows[active][:-1]
    first[active[np.append(True, change)]] = True
    last[active[np.append(change, True)]] = True
    return first, last
