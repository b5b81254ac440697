"""Transposes that leave every element where it is, since they only move sides of 1: mere changes of shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Operands, operator_flags
from perfsage.graph import Subgraph

_RESHAPE = int(operator_flags(("RESHAPE",)).argmax())


def still_as_reshapes(subgraph: Subgraph, operands: Operands) -> Operands:
    """Return `operands` of `subgraph` with such transposes as reshapes, which Vela 5 makes of them."""
    transposes = np.flatnonzero(operands.is_type("TRANSPOSE"))
    if not len(transposes):
        return operands
    sides = operands.dimensions
    before, after = sides[operands.data[transposes]], sides[operands.result[transposes]]
    still = (before != after).any(axis=1) & (without_ones(before) == without_ones(after)).all(axis=1)
    if not still.any():
        return operands
    made = Operands(subgraph)
    made.type[transposes[still]] = _RESHAPE
    return made


def without_ones(sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sides float64[n, k] with those of 1 at the end."""
    return np.take_along_axis(sides, np.argsort(sides == 1, axis=1, kind="stable"), axis=1)
