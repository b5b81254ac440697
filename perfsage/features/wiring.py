"""Edges between operators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Columns


def edges(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (source, target) operator rows: one edge for each operand that another operator produced."""
    operands, results = columns.operator_inputs, columns.operator_outputs
    # The last place takes operands that are left out (-1).
    producer = np.full(len(columns.tensor_type) + 1, -1, dtype=np.int64)
    producer[results.values] = results.row_indices
    producer[-1] = -1
    source, target = producer[operands.values], operands.row_indices.astype(np.int64)
    there = source >= 0
    return source[there], target[there]
