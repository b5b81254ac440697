"""Slices whose results state another shape than is cut out: stale signatures bring this about."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Operands, remembered
from perfsage.graph import Subgraph


@remembered
def contradicted_slices(
    subgraph: Subgraph, operands: Operands
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which slices yield another shape than they state, and what share of it: these are copied.

    Others are read where they lie. Only tensors with stale signatures are looked at.
    """
    slices = operands.is_type("STRIDED_SLICE")
    if not slices.any():
        return np.empty(0, dtype=np.int64), np.empty(0)
    stale = np.append(subgraph.columns.tensor_has_stale_signature, False)
    rows = np.flatnonzero(slices & (stale[operands.data] | stale[operands.result]))
    stated = operands.elements[operands.result[rows]]
    cut = np.array([_cut(subgraph, operands, row) for row in rows.tolist()])
    shares = np.where(cut > 0, cut / stated, 1.0)
    return rows[shares != 1.0], shares[shares != 1.0]


def _cut(subgraph: Subgraph, operands: Operands, row: int) -> float:
    """Return how many elements are cut out; 0 where that is not known."""
    part, place = subgraph.part(row)
    inputs = part.columns.operator_inputs[place].tolist()
    sizes = subgraph.columns.tensor_shape[int(operands.data[row])]
    limits = [np.frombuffer(part.columns.constant(tensor), "<i4") for tensor in inputs[1:3] if tensor >= 0]
    others = [subgraph.columns.attribute(f"{name}_mask")[row] for name in ("ellipsis", "new_axis")]
    if any(others) or [len(limit) for limit in limits] != [len(sizes)] * 2:
        return 0.0
    masks = [subgraph.columns.attribute(f"{name}_mask")[row] for name in ("begin", "end")]
    open_ = [(mask >> np.arange(len(sizes)) & 1).astype(bool) for mask in masks]
    begin, end = (np.where(limit < 0, limit + sizes, limit) for limit in limits)
    begin = np.where(open_[0], 0, np.clip(begin, 0, np.maximum(sizes - 1, 0)))
    end = np.where(open_[1], sizes, np.clip(end, 1, np.maximum(sizes, 1)))
    return float(np.maximum(end - begin, 0).astype(np.float64).prod())
