"""Edges between operators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Columns


def edges(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (source, target) operator rows: one edge for each operand that another operator produced."""
    operands = columns.operator_inputs
    source, target = producers(columns)[operands.values], operands.row_indices.astype(np.int64)
    there = source >= 0
    return source[there], target[there]


def producers(columns: Columns) -> NDArray[np.int64]:
    """Return the operator row that writes each tensor, int64[tensors + 1]; -1 where none does."""
    results = columns.operator_outputs
    # The last place takes operands that are left out (-1).
    made = np.full(len(columns.tensor_type) + 1, -1, dtype=np.int64)
    made[results.values] = results.row_indices
    made[-1] = -1
    return made
