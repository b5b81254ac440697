"""All that is estimated of operators on NPUs, for the graph as their compiler takes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding import coded_share
from perfsage.features.npu.accesses import accesses_of, linked_by
from perfsage.features.npu.asked import REFERENCE_LIMIT
from perfsage.features.npu.cascade_steps import Steps, steps_of
from perfsage.features.npu.cascades import is_tight
from perfsage.features.npu.columns import npu_columns
from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.formats import BRICK
from perfsage.features.npu.identities import without_identities
from perfsage.features.npu.memory import npu_live
from perfsage.features.npu.plan import Plan, planned
from perfsage.features.npu.refusals import refusals
from perfsage.features.npu.schedule import execution_order
from perfsage.features.npu.softmax_rooms import limit_softmaxes
from perfsage.features.npu.spills import Spills, spilled, stripes_of
from perfsage.features.npu.work import SPILL_BYTES, Flags, Float64, round_up
from perfsage.features.operands import Operands, windows
from perfsage.graph import Subgraph
from perfsage.graph.rescheduled import rescheduled
from perfsage.graph.signatures import by_signature

Statistics = NDArray[np.float32]


def npu_estimate(
    subgraph: Subgraph, operands: Operands, statistics: Statistics, macs: Float64
) -> tuple[Flags, Float64]:
    """Return what NPUs leave to the CPU, bool[n, 2] for U55 and U85, and the NPUs' part of PHYSICAL_COLUMNS.

    Their compiler believes signatures rather than shapes, and runs operators in an order of its own. `macs`
    float64[n] are those of shapes.
    """
    seen = by_signature(subgraph)
    known = operands if seen is subgraph else Operands(seen)
    refused = refusals(seen.columns, known, known.shapes(windows(seen)))
    products = np.where(refused, 0.0, _as_seen(macs, operands, known)[:, None])
    known = without_identities(seen, known, refused)
    order = execution_order(seen, known, refused)
    if (np.diff(order) == 1).all():
        return refused, np.concatenate([products, _in_order(seen, known, statistics, refused)], axis=1)
    later = rescheduled(seen, order)
    known = without_identities(later, Operands(later), refused[order])
    made = np.empty_like(found := _in_order(later, known, statistics[order], refused[order]))
    made[order] = found
    return refused, np.concatenate([products, made], axis=1)


def _as_seen(macs: Float64, operands: Operands, known: Operands) -> Float64:
    """Return the MACs of as many results as signatures say, float64[n]."""
    if known is operands:
        return macs
    ours, theirs = (each.elements[each.result] for each in (operands, known))
    return np.asarray(macs * theirs / np.maximum(ours, 1.0))


def _in_order(subgraph: Subgraph, operands: Operands, statistics: Statistics, refused: Flags) -> Float64:
    """Return the columns of operators that run one after the other."""
    shapes = operands.shapes(windows(subgraph))
    live, ranges, stored, crossed = npu_live(subgraph, operands, refused)
    stored[operands.constant] = 0.0
    steps = None
    if is_tight(ranges, stored):
        steps = _steps(subgraph, operands, statistics, refused, shapes, stored)
    stripes = stripes_of(operands, ranges, steps)

    def placed(ahead: Float64, plan: Plan | None) -> Spills:
        def accesses() -> tuple[Float64, Flags]:
            reads = plan.reads if plan else nothing
            read = accesses_of(subgraph, operands, refused[:, 1], ranges, stored, reads)
            return read, linked_by(subgraph, operands, refused[:, 1]).within

        return spilled(operands, ranges, stripes, crossed, ahead, accesses)

    nothing = np.zeros((len(refused), len(SPILL_BYTES)))
    # What room weights find is known once it is known how many bytes they have.
    spills = replace(placed(nothing, None), room=nothing + np.inf)
    given = subgraph, operands, shapes, statistics, refused
    plan = planned(*given, spills)
    ahead = plan.ahead
    # Which weights are copied does not depend on what lies where, but has its place first.
    if steps is not None:
        stripes = stripes_of(operands, ranges, steps, plan.weights, plan.copied)
        room = np.stack([striped.room for striped in stripes], axis=1)
        ahead = ahead - np.where(plan.copied & (plan.weights > room), plan.weights, 0.0)
    first, spills = spills, placed(ahead, plan)
    names = ("beyond", "heights", "room")
    if any((getattr(spills, name) != getattr(first, name)).any() for name in names):
        plan = planned(*given, spills)
    # The last column is that of accelerators that leave in DRAM what does not fit: of one that is always
    # estimated, so that the others' part beside it may be less than nothing.
    kept = np.maximum(live[:, -1:] - spills.saved, 0.0)
    limit_softmaxes(operands, refused[:, 1], ranges, spills, kept)
    live[:, -1] = kept[:, REFERENCE_LIMIT]
    more = kept - live[:, -1:]
    return np.concatenate([live, npu_columns(*given, plan, more)], axis=1)


def _steps(
    subgraph: Subgraph,
    operands: Operands,
    statistics: Statistics,
    refused: Flags,
    shapes: Float64,
    stored: Float64,
) -> Steps:
    sizes = np.append(np.maximum(subgraph.columns.tensor_bytes, 0), 0).astype(np.float64)
    coded = sizes[operands.weight] * coded_share(statistics) + SCALE_BYTES * shapes[:, 3]
    coded = np.where(operands.has_weight, round_up(coded, BRICK), 0.0)
    return steps_of(subgraph, operands, refused[:, 1], shapes, coded, stored)
