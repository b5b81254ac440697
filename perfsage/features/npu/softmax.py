"""What the operators work on that an NPU makes of a softmax of 8 bits: about 28, on integers of 32 bits.

The largest value of each row is found, subtracted and looked up; what comes out is summed for each row, some
twenty operators on one integer a row find the reciprocal of the sum, and it is multiplied with every element.
The order is that of Vela 5 (`Softmax::GetGraph8Bit`), with what its scheduler does to the shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from perfsage.features.npu.deep_shapes import deep_shape
from perfsage.features.npu.formats import BRICK, FEW_CHANNELS
from perfsage.features.npu.work import Flags, Float64, Work, round_up

FEW_ELEMENTS = 16
"""Arithmetic on fewer channels is laid out anew, so that it has more, but for so few elements."""
_ONES = ("kernel_h", "kernel_w", "stride_h", "stride_w", "span_h", "span_w", "enlarged")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Columns over softmaxes, float64[n] but for shapes float64[3, n]: height, width and channels.

    `elements` as they are and `kept` as they are stored, `rows` and `bricks` the same for one integer a row.
    `shape` is that of all elements where nothing is broadcast, and `row_shape` that of one integer a row.
    `flat` bool[n] are laid out anew, and so stay channels last; so do integers of a row, kept as `row_kept`.
    """

    elements: Float64
    kept: Float64
    rows: Float64
    row_kept: Float64
    bricks: Float64
    shape: Float64
    row_shape: Float64
    flat: Flags

    def tiled(self, times: int) -> Sizes:
        """Return the same so many times."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return Sizes(**{name: np.concatenate([column] * times, axis=-1) for name, column in columns.items()})


def taken(cycles: Float64, near: Float64 | float, far: Float64 | float) -> Float64:
    """Return what operators of a softmax take, float64[3, n]: cycles, bytes inside and bytes outside."""
    return np.stack([cycles, *(np.broadcast_to(bytes_, cycles.shape) for bytes_ in (near, far))])


def sizes_of(work: Work) -> Sizes:
    """Return the sizes of each softmax; they are the same on all accelerators."""
    rows = work.out_h * work.out_w
    elements = rows * work.out_c
    flat = (work.out_c < FEW_CHANNELS) & (elements > FEW_ELEMENTS)
    shape = np.stack([work.out_h, work.out_w, work.out_c])
    row_shape = _deepened(np.stack([work.out_h, work.out_w, np.ones(len(work))]), rows > FEW_ELEMENTS)
    bricks = row_shape[0] * row_shape[1] * round_up(row_shape[2], BRICK)
    return Sizes(
        elements=elements,
        kept=np.where(flat, elements, rows * round_up(work.out_c, BRICK)),
        rows=rows,
        row_kept=np.where(rows > FEW_ELEMENTS, rows, bricks),
        bricks=bricks,
        shape=_deepened(shape, flat),
        row_shape=row_shape,
        flat=flat,
    )


def _deepened(shape: Float64, which: Flags) -> Float64:
    """Return shapes float64[3, n] with some of them laid out anew."""
    made = shape.copy()
    for place in np.flatnonzero(which).tolist():
        made[:, place] = deep_shape(float(shape[:, place].prod()))
    return made


def laid_out(work: Work, shape: Float64, kind: int) -> Work:
    """Return operators of the same shape in and out, float64[3, n], that see one element at a time."""
    changed: dict[str, Any] = dict.fromkeys(_ONES, np.ones(len(work)))
    for axis, side in zip("hwc", shape, strict=True):
        changed |= {f"out_{axis}": side, f"in_{axis}": side}
    changed |= {"kind": np.full(len(work), kind), "table": np.zeros(len(work), dtype=np.bool_)}
    return replace(work, **changed)
