"""What moves images on an NPU, and how often: parts of a whole, other shapes, reductions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.features.npu.depths import shallow
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.formats import ALIASES, JOINTS, PARTS, REDUCTIONS
from perfsage.features.npu.stale_slices import contradicted_slices
from perfsage.features.npu.work import POOLING, TRANSPOSED, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def copy_parts(draft: Draft, subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]) -> Float64:
    """Make copies of what cannot stay where it is; return the share of each result that is copied.

    `refused` bool[n, 2] are the operators that go to the CPU.

    Parts of a concatenation that others read, too, that come from outside or lie in something else are
    copied, and so are those that are as large as the whole, and what only changes its shape on its way
    through the graph.
    """
    columns = subgraph.columns
    joined = operands.is_type(*JOINTS)
    renamed = operands.is_type(*ALIASES, *PARTS)
    share = np.ones(len(joined))
    if not (joined.any() or renamed.any()):
        return share
    outside = np.asarray(refused.any(axis=1))
    inside = np.ones(operands.absent + 1, dtype=np.bool_)
    inside[[*subgraph.inputs, *subgraph.outputs]] = False
    for table in (columns.operator_inputs, columns.operator_outputs):
        inside[table.values[outside[table.row_indices]]] = False
    table, results = columns.operator_inputs, columns.operator_outputs
    fixed = operands.readers > 1
    fixed[results.values] |= renamed[results.row_indices]
    fixed[[*subgraph.inputs]] = True
    fixed[results.values] |= outside[results.row_indices]
    elements = operands.elements
    whole = operands.dimensions[operands.result][table.row_indices]
    alike = (operands.dimensions[table.values] == whole).all(axis=1)
    copied = np.bincount(
        table.row_indices, elements[table.values] * (fixed[table.values] | alike), len(joined)
    )
    origin = _origins(operands)[operands.data]
    through = renamed & ~inside[origin] & ~inside[operands.result]
    rows, shares = contradicted_slices(subgraph, operands)
    through[rows], share[rows] = True, shares
    part = (joined & (copied > 0)) | through
    draft.kind[part] = POOLING
    draft.kernel[part] = 1.0
    draft.into[through] = draft.out[through]
    _lay_out_views(draft, operands, np.flatnonzero(through & operands.is_type(*ALIASES)), origin)
    share[joined & part] = (copied / elements[operands.result])[joined & part]
    moved = fixed[table.values] & joined[table.row_indices] & (table.values >= 0)
    _copy_alike(draft, operands, table.row_indices[moved], table.values[moved], share)
    return share


def _origins(operands: Operands) -> NDArray[np.int64]:
    """Return the tensor that others only name anew, or else itself, int64[tensors + 1]."""
    made = np.arange(operands.absent + 1)
    for row in np.flatnonzero(operands.is_type(*ALIASES)).tolist():
        made[operands.result[row]] = made[operands.data[row]]
    return made


def _lay_out_views(
    draft: Draft, operands: Operands, rows: NDArray[np.int64], origin: NDArray[np.int64]
) -> None:
    """Copy what only gets another shape as its `origin` int64[n] comes in, or where few channels, in more."""
    if not len(rows):
        return
    seen = operands.dimensions[origin[rows]]
    few = shallow(operands)[rows]
    shapes = np.where(few[:, None], deep_shapes(seen.prod(axis=1)), seen[:, 1:])
    draft.out[rows] = draft.into[rows] = shapes
    draft.batch[rows] = np.where(few, 1.0, seen[:, 0])


def joined_in_place(subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which results U85 joins where they lie, bool[n], though others copy what comes from the CPU.

    Each part has to be computed by an operator that goes to the CPU there alone, for that result alone.
    """
    joined, other = operands.is_type(*JOINTS), refused[:, 0] & ~refused[:, 1]
    if not (joined.any() and other.any()):
        return np.zeros(len(joined), dtype=np.bool_)
    inputs, results = subgraph.columns.operator_inputs, subgraph.columns.operator_outputs
    freed, kept = (np.zeros(operands.absent + 1, dtype=np.bool_) for _ in range(2))
    freed[results.values[other[results.row_indices]]] = True
    kept[results.values] = ~(operands.is_type(*ALIASES, *PARTS) | refused[:, 1])[results.row_indices]
    kept[[*subgraph.inputs]] = False
    alike = operands.dimensions[inputs.values] == operands.dimensions[operands.result][inputs.row_indices]
    fixed = ~kept[inputs.values] | (operands.readers[inputs.values] > 1) | alike.all(axis=1)
    freely, copied = (
        np.bincount(inputs.row_indices, flags, len(joined)) > 0 for flags in (freed[inputs.values], fixed)
    )
    return np.asarray(joined & freely & ~copied & ~refused[:, 1])


def _copy_alike(
    draft: Draft, operands: Operands, rows: NDArray[np.int64], tensors: NDArray[np.integer], share: Float64
) -> None:
    """Copy `tensors` into the results of `rows` in their own shape, where those of a result are alike."""
    count = np.bincount(rows, minlength=len(share))
    least, most = np.full((len(share), 4), np.inf), np.zeros((len(share), 4))
    np.minimum.at(least, rows, operands.dimensions[tensors])
    np.maximum.at(most, rows, operands.dimensions[tensors])
    alike = (count > 0) & (least == most).all(axis=1) & (most[:, 0] == draft.batch)
    draft.out[alike] = draft.into[alike] = most[alike, 1:]
    share[alike] = count[alike]


def spread_reductions(draft: Draft, operands: Operands) -> None:
    """A largest value is found by looking at every element."""
    reduced = operands.is_type(*REDUCTIONS)
    draft.out[reduced] = draft.into[reduced]
    draft.kernel[reduced] = 1.0


def merge_outer_axes(draft: Draft, operands: Operands) -> None:
    """Transposes that leave the two outermost of more than three axes alone take them for one."""
    rows = np.flatnonzero((draft.kind == TRANSPOSED) & (draft.batch > 1))
    before, after = (
        operands.dimensions[operands.data[rows], :2],
        operands.dimensions[operands.result[rows], :2],
    )
    rows = rows[(before == after).all(axis=1)]
    draft.out[rows, 0] *= draft.batch[rows]
    draft.into[rows, 0] *= draft.batch[rows]
    draft.batch[rows] = 1.0
