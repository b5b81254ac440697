"""What Vela 5 makes of padding that no convolution takes over: copies of a constant around the image."""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.cycles import npu_costs
from perfsage.features.npu.extra_parts import Int64, moving
from perfsage.features.npu.formats import LINEAR
from perfsage.features.npu.padding import PADS, absorbed_padding, fills, written_padding
from perfsage.features.npu.work import Flags, Float64, Work
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def fill_costs(
    subgraph: Subgraph, operands: Operands, work: Work, refused: Flags
) -> list[tuple[Int64, Float64]]:
    """Return the rows and the costs of fills, one after the other; `refused` as in `refusals`."""
    outside = np.asarray(refused.any(axis=1))
    pads = operands.is_type(*PADS) & ~outside
    if not pads.any():
        return []
    rows = np.flatnonzero(pads & ~absorbed_padding(subgraph, operands))
    found = fills(operands, rows)
    # Where the image is there already, the last of them is the operator itself.
    alone = written_padding(subgraph, operands, outside)[rows]
    for place, (at, sides) in list(enumerate(found))[::-1]:
        kept = ~alone[at]
        alone[at] = False
        found[place] = at[kept], sides[kept]
    return [(rows[at], npu_costs(_fill(work.take(rows[at]), sides))) for at, sides in found if len(at)]


def _fill(work: Work, sides: Float64) -> Work:
    """Return copies of a constant to parts `sides` float64[k, 3] of the results of `work`."""
    names = ("target", "target_u85", "target_spill")
    ends = {name: getattr(work, name) for name in names}
    ends |= dict.fromkeys(("source", "source_u85"), np.full_like(work.source, LINEAR))
    ends |= {"constant": sides.prod(axis=1), "copied": np.ones(len(sides), dtype=np.bool_)}
    return moving(work, sides, sides, ends)
