"""Doubling an image with half-pixel centres on U55 and U65: it gets a rim, then four convolutions read it.

The image and its four edges are copied (Vela 5, `ConvertResizeBilinearHPCToDepthwise`).
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.cycles import npu_costs
from perfsage.features.npu.extra_parts import Int64, moving
from perfsage.features.npu.formats import EDGE, LINEAR, in_phases
from perfsage.features.npu.geometry import IS_U85
from perfsage.features.npu.work import NOTHING, Flags, Float64, Work
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_OTHERS = np.array(IS_U85, dtype=np.bool_)
_COPIES = ((1.0, "all"), (2.0, "row"), (2.0, "column"))


def rim_costs(
    subgraph: Subgraph, operands: Operands, work: Work, refused: Flags
) -> list[tuple[Int64, Float64]]:
    """Return the rows and the costs of these copies, one after the other; `refused` as in `refusals`."""
    rows = np.flatnonzero(in_phases(subgraph, operands) & (work.kind != NOTHING) & ~refused[:, 0])
    if not len(rows):
        return []
    made = []
    entering = np.zeros(operands.absent + 1, dtype=np.bool_)
    entering[[*subgraph.inputs]] = True
    outside = entering[operands.data[rows]]
    images = operands.dimensions[operands.data[rows]][:, 1:]
    for times, part in _COPIES:
        costs = npu_costs(_copy(work.take(rows), images, part, outside)) * times
        costs[:, :, _OTHERS] = 0.0
        made.append((rows, costs))
    return made


def _copy(work: Work, images: Float64, part: str, outside: Flags) -> Work:
    """Return copies of `images` float64[k, 3] or of edges as work; `outside` bool[k] enter the graph."""
    sides = images.copy()
    if part == "row":
        sides[:, 0] = 1.0
    if part == "column":
        sides[:, 0] += 2.0
        sides[:, 1] = 1.0
    rows = np.full_like(work.source, LINEAR)
    ends = dict.fromkeys(("source", "target", "source_u85", "target_u85"), rows)
    # Columns are those of the copy.
    ends["source"] = np.where(outside & (part != "column"), EDGE, LINEAR)
    return moving(work, sides, sides, ends)
