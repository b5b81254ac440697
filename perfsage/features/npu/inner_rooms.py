"""What lies in SRAM between the operators that one becomes, though the graph's ends may lie in DRAM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.depths import shallow
from perfsage.features.npu.formats import BRICK, EDGE
from perfsage.features.npu.fusing import own_activation
from perfsage.features.npu.turns import ENTERING, turns
from perfsage.features.npu.work import INTEGER_BYTES, Flags, Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

MEANT, ACTIVATED = "meant", "activated"
"""The sums of a mean, with what is read and with what is written, and what an activation of its own reads."""


def inner_rooms(
    subgraph: Subgraph, operands: Operands, refused: Flags, formats: NDArray[np.int64], *, u85: bool
) -> dict[str, tuple[Flags, Float64]]:
    """Return which operators make such tensors, bool[n], and their bytes, float64[n].

    `refused` bool[n] is what the CPU does; `formats` int64[tensors + 1].
    """
    elements, depth = operands.elements[operands.result], operands.dimensions[operands.result, 3]
    active = own_activation(subgraph, operands) & ~refused & (formats[operands.result] == EDGE)
    rooms = {ACTIVATED: (active, round_up(elements, BRICK))}
    if not u85:
        bricks = elements / np.maximum(depth, 1.0) * round_up(depth, BRICK)
        wide = INTEGER_BYTES * np.where(shallow(operands), round_up(elements, BRICK), bricks)
        rooms[MEANT] = (operands.is_type("MEAN") & ~refused, wide)
    return rooms


def turned_room(subgraph: Subgraph, operands: Operands, refused: Flags, *, u85: bool) -> Float64 | float:
    """Return the bytes of second operands of products that enter the graph and are turned, float64[n, 2].

    That is done before all others. Where the operands lie in DRAM, all copies are there until they are read;
    else U85 has one more than of the operands, while U55 has room that is larger. `refused` bool[n, 2].
    """
    adjoint = subgraph.columns.attribute("adj_y").astype(np.bool_)
    rows = np.flatnonzero(turns(subgraph, operands, adjoint, refused)[1] == ENTERING)
    if not len(rows):
        return 0.0
    second = operands.second[rows]
    depth, elements = operands.dimensions[second, 2], operands.elements[second]
    stored = elements / np.maximum(depth, 1.0) * round_up(depth, BRICK) if u85 else elements
    copies, begin = round_up(stored, BRICK), subgraph.begins(rows)
    change, once = np.zeros((2, len(refused) + 1))
    np.add.at(change, begin, copies)
    np.add.at(change, rows + 1, -copies)
    np.maximum.at(once, begin, copies if u85 else 0.0)
    return np.stack([once[:-1], np.cumsum(change)[:-1]], axis=1)
