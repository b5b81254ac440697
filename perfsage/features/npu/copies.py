"""What moves and resizes images on an NPU, and how often: copies, doubled images, four phases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.features.npu.depths import copied_whole, shallow
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.formats import ALIASES, JOINTS, PARTS, REDUCTIONS
from perfsage.features.npu.schedule import direct_parts
from perfsage.features.npu.stale_slices import contradicted_slices
from perfsage.features.npu.work import ELEMENTWISE, NOTHING, POOLING, TRANSPOSED, Float64
from perfsage.features.operands import Operands, remembered
from perfsage.features.wiring import producers
from perfsage.graph import Subgraph

PADS = ("PAD", "PADV2")
BILINEAR, NEAREST = "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"
MOST_ENLARGED = 8.0
_VALID = 1


def lower_resizing(draft: Draft, operands: Operands, phases: NDArray[np.bool_]) -> Float64:
    """Make resizing what U55 does, some in `phases` bool[n]; return how often it is done.

    It doubles images until they are large enough, by a pooling of one element, and takes the mean over as
    many elements as it enlarges by at last. With half-pixel centres these are four depthwise convolutions
    (`phases`), and a single pixel is added to zeros.
    """
    bilinear, nearest = operands.is_type(BILINEAR), operands.is_type(NEAREST)
    factor = np.maximum(draft.out[:, :2] / np.maximum(draft.into[:, :2], 1.0), 1.0).max(axis=1)
    single = (draft.into[:, :2] == 1).all(axis=1)
    pooled = (bilinear & ~single & ~phases) | nearest
    draft.kind[bilinear & single] = ELEMENTWISE
    draft.kind[pooled] = POOLING
    draft.kernel[phases] = 2.0
    # Each writes every other pixel, and counts those between.
    draft.out[phases, :2] = 2.0 * draft.into[phases, :2] - 1.0
    draft.into[phases, :2] += 1.0
    draft.kernel[bilinear & pooled] = np.minimum(factor, MOST_ENLARGED)[bilinear & pooled, None]
    elements = np.maximum(draft.kernel.prod(axis=1), 4.0)
    doublings = (1.0 - 4.0 * factor**-2.0) / 3.0 * 4.0 / elements
    return np.where(phases, 4.0, np.where(pooled, 1.0 + np.maximum(doublings, 0.0), 1.0))


def kinds_u85(kind: NDArray[np.int64], resized: NDArray[np.bool_]) -> NDArray[np.int64]:
    """U85 resizes by a unit of its own, as fast as it adds, and transposes like it pools."""
    return np.where(kind == TRANSPOSED, POOLING, np.where(resized & (kind != NOTHING), ELEMENTWISE, kind))


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


def drop_padding(draft: Draft, subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]) -> None:
    """What is padded for a convolution alone is padded by it, which reads the image as it was."""
    padded = absorbed_padding(subgraph, operands)
    draft.kind[padded] = NOTHING
    written = written_padding(subgraph, operands, refused)
    image_only = np.flatnonzero(operands.is_type(*PADS) & ~written & ~padded)
    draft.out[image_only] = draft.into[image_only]
    _fill_only(draft, operands, np.flatnonzero(written))
    whole = copied_whole(operands)
    whole = whole[~padded[whole] & ~refused[whole]]
    if len(whole):
        draft.into[whole] = deep_shapes(operands.elements[operands.data[whole]])
    rows = np.flatnonzero(padded)
    if not len(rows):
        return
    image = np.full(operands.absent + 1, -1)
    image[operands.result[rows]] = operands.data[rows]
    readers = np.flatnonzero((image[operands.data] >= 0) & operands.is_type("CONV_2D", "DEPTHWISE_CONV_2D"))
    before, after = (operands.dimensions[those, 1:3] for those in (image[operands.data], operands.data))
    alike = readers[(draft.into[readers, :2] == after[readers]).all(axis=1)]
    draft.into[alike, :2] = before[alike]


def _fill_only(draft: Draft, operands: Operands, rows: NDArray[np.int64]) -> None:
    """Leave nothing but the last fill of `rows`, whose images are there already; others come beside it."""
    last = np.full((len(rows), 3), np.nan)
    for at, sides in fills(operands, rows):
        last[at] = sides
    draft.kind[rows[np.isnan(last[:, 0])]] = NOTHING
    rows, last = rows[~np.isnan(last[:, 0])], last[~np.isnan(last[:, 0])]
    draft.out[rows] = draft.into[rows] = last


def filled_elements(
    draft: Draft, subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]
) -> Float64:
    """Return the elements of a constant that fill what is padded, where nothing else is left to do."""
    alone = written_padding(subgraph, operands, np.asarray(refused.any(axis=1))) & (draft.kind == POOLING)
    return np.where(alone, draft.out.prod(axis=1), 0.0)


def fills(operands: Operands, rows: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Float64]]:
    """Return what fills padding, one after the other: positions in `rows` int64[k] and sides h w c of each.

    Channels are filled first, then what is left and right, then what is above and below. Only how much is
    padded in all is known, and taken for half on either side, the larger one after the image.
    """
    before, after = (operands.dimensions[each[rows]] for each in (operands.data, operands.result))
    made = []
    for axis in (2, 1, 0):
        padded = after[:, axis + 1] - before[:, axis + 1]
        for amount in (np.floor(padded / 2.0), np.ceil(padded / 2.0)):
            at = np.flatnonzero(amount > 0)
            if len(at):
                sides = after[at, 1:].copy()
                sides[:, axis] = amount[at]
                made.append((at, sides))
    return made


@remembered
def absorbed_padding(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    """Return which operators pad an image for a convolution alone, bool[n]."""
    depth = operands.dimensions[:, 3]
    padded = operands.is_type("PAD") & (depth[operands.result] == depth[operands.data])
    if not padded.any():
        return np.asarray(padded)
    table = subgraph.columns.operator_inputs
    able = (table.values >= 0) & _takes_padding(subgraph, operands)[table.row_indices]
    windows = np.bincount(table.values[able], minlength=operands.absent + 1)
    alone = (operands.readers[operands.result] == 1) & (windows[operands.result] == 1)
    return np.asarray(padded & alone)


def written_padding(subgraph: Subgraph, operands: Operands, refused: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whose images are written between the padding by who makes them, bool[n].

    `refused` bool[n] is what the CPU does (Vela 5, `MoveConcatSliceToProducer`).
    """
    rows = np.flatnonzero(operands.is_type("PAD") & ~absorbed_padding(subgraph, operands) & ~refused)
    made = np.zeros(len(refused), dtype=np.bool_)
    if len(rows):
        table = subgraph.columns.operator_inputs
        before, after = (operands.dimensions[each[rows]] for each in (operands.data, operands.result))
        # What pads nothing stays a copy, and so does what several operators write.
        maker = producers(subgraph.columns)[operands.data[rows]]
        several = (operands.is_type(*PADS, *JOINTS) & ~refused)[maker] & (maker >= 0)
        made[rows] = (before != after).any(axis=1) & ~several
        made[rows] &= direct_parts(subgraph, operands, refused)[table.offsets[rows]]
    return made


def _takes_padding(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    """Return which convolutions have no padding of their own yet, bool[n], whatever their shapes say."""
    attribute, sides = subgraph.columns.attribute, slice(1, 3)
    stride = np.stack([attribute(f"stride_{axis}") for axis in "hw"], axis=1)
    dilation = np.stack([attribute(f"dilation_{axis}_factor") for axis in "hw"], axis=1)
    spans = (operands.dimensions[operands.weight][:, sides] - 1.0) * np.maximum(dilation, 1) + 1.0
    reach = (operands.dimensions[operands.result][:, sides] - 1.0) * stride + spans
    fits = (reach <= operands.dimensions[operands.data][:, sides]).all(axis=1)
    fits |= attribute("padding") == _VALID
    return np.asarray(fits & operands.is_type("CONV_2D", "DEPTHWISE_CONV_2D"))
