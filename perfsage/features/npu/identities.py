"""Transposes that leave every element where it is, which Vela 5 takes for reshapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_MOST_AXES = 4


def without_identities(subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]) -> Operands:
    """Return operands whose transposes are reshapes where only axes of one element move.

    Those that are `refused` bool[n, 2] stay.
    """
    transposes = np.flatnonzero(operands.is_type("TRANSPOSE") & ~refused.any(axis=1))
    if not len(transposes):
        return operands
    ranks = np.append(np.diff(subgraph.columns.tensor_shape.offsets), _MOST_AXES)
    data, result = operands.data[transposes], operands.result[transposes]
    ins, outs = operands.dimensions[data], operands.dimensions[result]
    before, after = _without_ones(ins), _without_ones(outs)
    # An axis as long as another one could have changed places with it, unless one of one element did.
    ascending = np.sort(before, axis=1)
    alike = ((ascending[:, 1:] == ascending[:, :-1]) & (ascending[:, 1:] > 1)).any(axis=1)
    same = (before == after).all(axis=1) & (~alike | (ins != outs).any(axis=1))
    same &= ranks[data] <= _MOST_AXES
    return operands.retyped(transposes[same], "RESHAPE") if same.any() else operands


def _without_ones(sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sides float64[n, 4] with those of 1 at the end."""
    return np.take_along_axis(sides, np.argsort(sides == 1, axis=1, kind="stable"), axis=1)
