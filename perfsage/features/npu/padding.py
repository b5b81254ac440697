"""Padding on an NPU: a convolution takes it over, its image is written between it, or it is a copy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.features.npu.depths import copied_whole
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.formats import JOINTS
from perfsage.features.npu.schedule import direct_parts
from perfsage.features.npu.work import NOTHING, POOLING, Float64
from perfsage.features.operands import Operands, remembered
from perfsage.features.wiring import producers
from perfsage.graph import Subgraph

PADS = ("PAD", "PADV2")
_VALID = 1


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
