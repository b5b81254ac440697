"""Activations that an NPU does on their own, although the file has them as options (`fusing`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfsage.features.npu.cycles import COSTS, npu_costs
from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.features.npu.depths import shallow
from perfsage.features.npu.extra_parts import Int64, moving
from perfsage.features.npu.formats import BRICKS, LINEAR
from perfsage.features.npu.fusing import own_activation
from perfsage.features.npu.geometry import GEOMETRIES
from perfsage.features.npu.work import NOTHING, Flags, Float64, Work
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def activation_costs(
    subgraph: Subgraph, operands: Operands, work: Work, refused: Flags
) -> tuple[Int64, Float64]:
    """Return the rows of operators that these follow, int64[k], and their costs as `npu_costs` does.

    `refused` bool[n, 2] is as in `refusals`.
    """
    rows = np.flatnonzero(own_activation(subgraph, operands) & (work.kind != NOTHING) & ~refused.all(axis=1))
    if not len(rows):
        return rows, np.zeros((0, len(COSTS), len(GEOMETRIES)))
    results = operands.dimensions[operands.result[rows]]
    return rows, npu_costs(_activation(work.take(rows), results, shallow(operands)[rows]))


def before_activations(subgraph: Subgraph, operands: Operands, work: Work) -> Work:
    """Return work that writes to SRAM what activations of their own read, as they do."""
    own = own_activation(subgraph, operands) & (work.kind != NOTHING)
    if not own.any():
        return work
    read = np.where(shallow(operands), LINEAR, BRICKS)
    ends = {name: np.where(own, read, getattr(work, name)) for name in ("target", "target_u85")}
    return replace(work, **ends)


def _activation(work: Work, results: Float64, deep: Flags) -> Work:
    """Return activations of `results` float64[k, 4] as work; those that are `deep` bool[k] read rows."""
    shapes = np.where(deep[:, None], deep_shapes(results.prod(axis=1)), results[:, 1:])
    source = np.where(deep, LINEAR, BRICKS)
    ends = {name: getattr(work, name) for name in ("target", "target_u85", "target_spill")}
    return moving(work, shapes, shapes, ends | {"source": source, "source_u85": source})
