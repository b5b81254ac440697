"""Which operators U85 does while what they read is still on its way out: arithmetic on what another makes.

Such an operator has no transfers of its own but for its second operand, and its cycles add to those of the
operator that it follows. Vela 5 decides so; among 72 sampled networks this rule missed a few operators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.depths import deepened
from perfsage.features.npu.formats import ARITHMETIC, makers, rows_as_image
from perfsage.features.npu.fusing import made_of_several, own_activation
from perfsage.features.npu.resizing import BILINEAR, NEAREST
from perfsage.features.operands import Operands, remembered
from perfsage.graph import Subgraph

_LONGEST = 4
_MOST_READ = 3
"""A chain has so many operators at most, and reads so many tensors that it does not make itself."""
_CHAINED = tuple(name for name in ARITHMETIC if name != "SQUARED_DIFFERENCE")
"""A squared difference begins with a cast, which nothing else does on the way out."""


@dataclass(frozen=True, slots=True)
class Chains:
    """Who does what: `within` bool[n] is done by another, `root` int64[n] says by which.

    `length` float64[n] counts the others that one does, and `beside` int64[n] is what those read that they
    do not follow, else the absent tensor. `silent` bool[n] says whose last one is arithmetic with nothing
    after it: of each of those that one does, Vela 5 counts but the first transfer, so not what it writes.
    """

    within: NDArray[np.bool_]
    root: NDArray[np.int64]
    length: NDArray[np.float64]
    beside: NDArray[np.int64]
    silent: NDArray[np.bool_]


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
    # Nothing is done on the way out of several operators, nor of another shape, nor of what resizes.
    unfit = made_of_several(subgraph, operands) | rows_as_image(subgraph, operands)
    unfit |= operands.is_type(BILINEAR, NEAREST)
    fitting &= ~unfit[maker[sources]]
    # Shapes are the same if both get another one: an activation of its own does.
    deep = deepened(subgraph, operands, owner) | own_activation(subgraph, operands)
    if deep.any():
        fitting &= deep[owner[maker[sources]]] == deep[:, None]
    # Only what runs right before is followed: of two, that is the later one.
    latest = maker[sources].argmax(axis=1)
    rows = np.arange(count)
    before, other = maker[sources][rows, latest], sources[rows, 1 - latest]
    before = np.where(fitting[rows, latest], before, -1)
    within = operands.is_type(*_CHAINED) & (before >= 0) & ~refused & (owner == np.arange(count))
    if within[owner[before[within]]].any():
        _cut(within, owner[before], _tensors_read(operands))
    link = np.where(within, owner[np.maximum(before, 0)], np.arange(count))
    for _ in range(_LONGEST):
        link = link[link]
    length = np.bincount(link[within], minlength=count).astype(np.float64)
    followed = subgraph.columns.attribute("fused_activation_function") > 0
    followed[owner[owner != rows]] = True
    last = rows.copy()
    np.maximum.at(last, link, rows)
    silent = (length > 0) & ~followed[last]
    return Chains(within, link, length, np.where(within, other, operands.absent), silent)


def _tensors_read(operands: Operands) -> NDArray[np.int64]:
    """Return how many tensors each operator reads, int64[n]: what is one constant number does not count."""
    second = operands.is_type(*ARITHMETIC, "DIV", "BATCH_MATMUL")
    data, other = operands.data, operands.second
    number = operands.constant & (operands.elements == 1)
    return np.asarray(1 - number[data] + (second & (other < operands.absent) & ~number[other]))


def _cut(within: NDArray[np.bool_], before: NDArray[np.int64], reads: NDArray[np.int64]) -> None:
    """Begin another chain where one would be too long or read too much, in `within` bool[n].

    `before` int64[n] is what each operator follows and `reads` as `_tensors_read` gives it.
    """
    chain: dict[int, tuple[int, int]] = {}
    for row in np.flatnonzero(within).tolist():
        before_it = int(before[row])
        length, read = chain.get(before_it, (1, int(reads[before_it])))
        length, read = length + 1, read + int(reads[row]) - 1
        if length <= _LONGEST and read <= _MOST_READ:
            chain[row] = length, read
        else:
            within[row] = False
