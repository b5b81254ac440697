"""Which operators U85 does while what they read is still on its way out: arithmetic on what another makes.

Such an operator has no transfers of its own but for its second operand, and its cycles add to those of the
operator that it follows. Vela 5 decides so; among 72 sampled networks this rule missed a few operators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import ARITHMETIC, makers, squarest
from perfsage.features.npu.fusing import made_of_several
from perfsage.features.operands import Operands, remembered
from perfsage.graph import Subgraph

_LONGEST = 4
_CHAINED = tuple(name for name in ARITHMETIC if name != "SQUARED_DIFFERENCE")
"""A squared difference begins with a cast, which nothing else does on the way out."""


@dataclass(frozen=True, slots=True)
class Chains:
    """Who does what: `within` bool[n] is done by another, `root` int64[n] says by which.

    `length` float64[n] counts the others that one does.
    """

    within: NDArray[np.bool_]
    root: NDArray[np.int64]
    length: NDArray[np.float64]


@remembered
def chains(
    subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_], owner: NDArray[np.int64]
) -> Chains:
    """Return the chains of a subgraph.

    `owner` int64[n] is the row that does each operator: its own, or another where it is fused.
    """
    count = len(operands.type)
    maker, elements = makers(subgraph, operands, refused), operands.elements
    sources = np.stack([operands.data, operands.second], axis=1)
    fitting = (operands.readers[sources] == 1) & (elements[sources] == elements[operands.result][:, None])
    # Nothing is done on the way out of several operators.
    fitting &= ~made_of_several(subgraph, operands)[maker[sources]]
    fitting &= ~_laid_out(subgraph, operands)[maker[sources]]
    before = np.where(fitting, maker[sources], -1).max(axis=1)
    within = operands.is_type(*_CHAINED) & (before >= 0) & ~refused & (owner == np.arange(count))
    link = np.where(within, owner[np.maximum(before, 0)], np.arange(count))
    for _ in range(_LONGEST):
        link = link[link]
    length = np.bincount(link[within], minlength=count).astype(np.float64)
    return Chains(within, link, length)


def _laid_out(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    """Return which layers make an image of their rows, bool[n]: arithmetic on these has another shape."""
    rows = operands.dimensions[operands.result, :3].prod(axis=1)
    # An activation is an operator of its own, which writes rows again.
    bare = subgraph.columns.attribute("fused_activation_function") == 0
    made = operands.is_type("FULLY_CONNECTED") & bare & (rows > 1)
    for row in np.flatnonzero(made):
        made[row] = squarest(int(rows[row])) > 1
    return np.asarray(made)
