"""Activations that an NPU does on their own, although the file has them as options (`fusing`)."""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.cycles import npu_costs
from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.features.npu.depths import shallow
from perfsage.features.npu.extra_parts import add_costs, moving
from perfsage.features.npu.formats import BRICKS, LINEAR
from perfsage.features.npu.fusing import own_activation
from perfsage.features.npu.work import NOTHING, Flags, Float64, Work
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def add_activations(
    made: Float64, subgraph: Subgraph, operands: Operands, work: Work, refused: Flags
) -> None:
    """Add those to the columns of NPUs, float64[n, 6, d]; `refused` as in `refusals`."""
    rows = np.flatnonzero(own_activation(subgraph, operands) & (work.kind != NOTHING) & ~refused.all(axis=1))
    if len(rows):
        results = operands.dimensions[operands.result[rows]]
        add_costs(made, rows, npu_costs(_activation(work.take(rows), results, shallow(operands)[rows])))


def _activation(work: Work, results: Float64, deep: Flags) -> Work:
    """Return activations of `results` float64[k, 4] as work; those that are `deep` bool[k] read rows."""
    shapes = np.where(deep[:, None], deep_shapes(results.prod(axis=1)), results[:, 1:])
    source = np.where(deep, LINEAR, BRICKS)
    ends = {name: getattr(work, name) for name in ("target", "target_u85", "target_spill")}
    return moving(work, shapes, shapes, ends | {"source": source, "source_u85": source})
