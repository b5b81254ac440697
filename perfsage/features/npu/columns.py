"""What each Ethos-U accelerator takes for each operator, as columns: cycles and the bytes that it moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.asked import asked
from perfsage.features.npu.constants import TABLE_BYTES, constant_bytes
from perfsage.features.npu.extra_parts import add_costs
from perfsage.features.npu.fetch import AHEAD, AWAITED, CODED, CYCLES, FAR, FETCHED, NEAR, SRAM
from perfsage.features.npu.formats import TABLES
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85
from perfsage.features.npu.plan import LIMITED, Plan, pieces_of
from perfsage.features.npu.prefetch import Prefetch
from perfsage.features.npu.recurrent import add_steps, recurrent_steps
from perfsage.features.npu.reductions import add_reductions
from perfsage.features.npu.stored import stored_bytes
from perfsage.features.npu.work import (
    NOTHING,
    Flags,
    Float64,
    Work,
)
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

LEAST_CYCLES = 1.0
"""What an operator takes at least: of nothing at all, no correction could make something."""
_NEAR_WEIGHTS, _FAR_WEIGHTS = np.array([(g.near.weights, g.far.weights) for g in GEOMETRIES]).T
_NEAR_RATE = np.array([g.near.rate for g in GEOMETRIES])
_TABLE_CYCLES = np.array([g.far.read_latency + TABLE_BYTES * g.far.reading / g.far.rate for g in GEOMETRIES])
"""What it takes to copy the table of a function, while the operator before runs."""
DRAM_SCALES = 0.4096
"""Bytes of scales and biases a cycle out of DRAM on U85: two bursts of 128 in its latency of 500, at 80 %."""
_FAR_SCALES = np.array(
    [g.far.rate / DRAM_SCALES if g.generation == 85 and g.far.is_dram else 1.0 for g in GEOMETRIES]
)


def npu_columns(
    subgraph: Subgraph,
    operands: Operands,
    shapes: Float64,
    statistics: NDArray[np.float32],
    refused: NDArray[np.bool_],
    plan: Plan,
    more: Float64,
) -> Float64:
    """Return float64[n, (1 + len(FETCHED)) * len(GEOMETRIES)], kind by kind; 0 for what is `refused`.

    NaN for accelerators that are not `asked`.

    Weights are read from where constants are, once for each block over the image, unless they are copied to
    SRAM. Memories are shared, so what is read from one adds up. `more` float64[n, limits] are the bytes
    that are there beside what the one of REFERENCES has in it.
    """
    work, cost, coded, fetch = plan.work, plan.cost, plan.coded, plan.fetch
    made = _transfers(cost, coded * fetch.padded, fetch, work.repeats[:, None])
    _wait_in_pieces(made, cost, pieces_of(subgraph, operands, work))
    waits = _has_own_table(work, operands)
    made[:, CYCLES] += np.where(waits, np.maximum(_TABLE_CYCLES - fetch.slack, 0.0), 0.0)
    made[:, FAR] += TABLE_BYTES * (waits | work.table[:, None])
    constants = constant_bytes(subgraph, operands, work, refused)
    made[:, CODED] = stored_bytes(subgraph, operands, work, cost, coded, fetch, statistics)
    made[:, CODED] += constants[:, IS_U85]
    made[:, AHEAD] = fetch.ahead
    for place, limited in enumerate(LIMITED):
        made[:, AHEAD, limited] += more[:, place]
    add_reductions(made, subgraph, operands, work)
    for rows, costs in plan.beside:
        add_costs(made, rows, costs)
    steps = recurrent_steps(subgraph, operands, work, shapes, statistics)
    if steps is not None:
        add_steps(made, steps, _transfers(steps.cost, steps.coded, steps.fetch, 1.0))
    np.maximum(made[:, CYCLES], LEAST_CYCLES, out=made[:, CYCLES])
    # What is copied ahead may be there all the same.
    for kinds in (slice(CYCLES, AHEAD), slice(SRAM, None)):
        np.copyto(made[:, kinds], 0.0, where=refused[:, None, IS_U85])
    made[:, :, ~asked()] = np.nan
    return made.reshape(len(coded), -1)


def _wait_in_pieces(made: Float64, cost: dict[str, Float64], pieces: Float64) -> None:
    """Add to cycles what each piece but the first waits for SRAM; the first one waits for weights meanwhile.

    `made` float64[n, columns, d] is as `_transfers` gives it.
    """
    rows = np.flatnonzero(pieces > 1)
    if len(rows):
        idle = np.maximum(made[rows, NEAR] / _NEAR_RATE - cost["cycles"][rows], 0.0)
        made[rows, CYCLES] += idle * (1.0 - 1.0 / pieces[rows, None])


def _has_own_table(work: Work, operands: Operands) -> Flags:
    """Return which operators are functions that nothing else does on its way out, bool[n, 1]."""
    return np.asarray(operands.is_type(*TABLES) & (work.kind != NOTHING))[:, None]


def _transfers(
    cost: dict[str, Float64], coded: Float64, fetch: Prefetch, repeats: Float64 | float
) -> Float64:
    """Return what each row takes and moves, float64[n, 1 + len(FETCHED), d] without `coded` and `ahead`."""
    once = coded * repeats
    again = np.where(fetch.kept, coded * cost["readings"], 0.0)
    late = np.maximum(coded - fetch.first, 0.0)
    direct = np.where(fetch.kept, 0.0, once * cost["readings"])
    made = np.empty((len(coded), 1 + len(FETCHED), len(GEOMETRIES)))
    made[:, CYCLES] = fetch.cycles
    near = np.maximum(cost["near"] + again + np.where(fetch.kept, late, 0.0), cost["near_alone"])
    made[:, NEAR] = np.maximum(near, again * _NEAR_WEIGHTS)
    scale = cost["scale"] * fetch.scales
    far = cost["far"] + scale
    # What is copied is read once outside, written inside and read there as often as there are blocks.
    whole = np.where(fetch.kept, once + scale / np.maximum(cost["readings"], 1.0), 0.0)
    read = once * cost["readings"] + scale
    made[:, FAR] = cost["far"] + np.where(fetch.kept, whole, read)
    made[:, SRAM] = cost["near"] + np.where(fetch.kept, whole + read, 0.0)
    awaited = np.maximum(far + np.where(fetch.kept, late, direct), direct * _FAR_WEIGHTS)
    made[:, AWAITED] = np.maximum(np.maximum(awaited, cost["far_alone"]), scale * _FAR_SCALES)
    return made
