"""Which inputs of which operators are parameters: small integers that decide what is computed.

The schema does not say this; the positions follow the operators' kernels in LiteRT
(tensorflow/lite/kernels). Integer constants elsewhere are data: a bias, for example.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import tflite

from perfsage.graph.flatbuffer import Array

if TYPE_CHECKING:
    from perfsage.graph.columns import Columns

MAX_PARAMETER_BYTES = 8192
"""A constant above this size is data, whatever its position."""

_AXIS_SECOND = (
    "ARG_MAX ARG_MIN BROADCAST_TO CUMSUM EXPAND_DIMS GATHER MEAN MIRROR_PAD PAD PADV2 REDUCE_ALL REDUCE_ANY"
    " REDUCE_MAX REDUCE_MIN REDUCE_PROD RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RFFT2D SUM"
    " TILE TOPK_V2 TRANSPOSE SPARSE_TO_DENSE ONE_HOT GATHER_ND MULTINOMIAL DILATE STABLEHLO_PAD"
)
_POSITIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_AXIS_SECOND.split(), (1,)),
    "BATCH_TO_SPACE_ND": (1, 2),
    "BROADCAST_ARGS": (0, 1),
    "CONV_3D_TRANSPOSE": (0,),
    "DYNAMIC_UPDATE_SLICE": (2,),
    "FILL": (0,),
    "NON_MAX_SUPPRESSION_V4": (2,),
    "NON_MAX_SUPPRESSION_V5": (2,),
    "RANDOM_STANDARD_NORMAL": (0,),
    "RANDOM_UNIFORM": (0,),
    "RANGE": (0, 1, 2),
    "REDUCE_WINDOW": (2, 3, 4, 5, 6),
    "SCATTER_ND": (0, 2),
    "SEGMENT_SUM": (1,),
    "SLICE": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "STABLEHLO_DYNAMIC_SLICE": (1, 2, 3, 4, 5, 6, 7),
    "STRIDED_SLICE": (1, 2, 3),
    "TRANSPOSE_CONV": (0,),
    "UNSORTED_SEGMENT_MAX": (1, 2),
    "UNSORTED_SEGMENT_MIN": (1, 2),
    "UNSORTED_SEGMENT_PROD": (1, 2),
    "UNSORTED_SEGMENT_SUM": (1, 2),
}
_INTEGERS = (tflite.TensorType.INT32, tflite.TensorType.INT64)


@cache
def _table() -> Array:
    """Return whether (operator, input position) is a parameter; the last row and column are always False."""
    codes = {name: code for code, name in tflite.BUILTIN_OPCODE2NAME.items()}
    width = max(max(positions) for positions in _POSITIONS.values()) + 2
    table = np.zeros((max(codes.values()) + 2, width), bool)
    for name, positions in _POSITIONS.items():
        if name in codes:
            table[codes[name], list(positions)] = True
    return table


def parameter_inputs(columns: Columns) -> tuple[Array, Array, Array]:
    """Return (operator row, input position, tensor) of every constant that is a parameter."""
    table, inputs = _table(), columns.operator_inputs
    rows = inputs.row_indices
    positions = np.arange(len(rows)) - inputs.offsets[rows]
    types = np.minimum(columns.operator_type, len(table) - 1)[rows]
    chosen = np.flatnonzero(table[types, np.minimum(positions, table.shape[1] - 1)] & (inputs.values >= 0))
    tensors = inputs.values[chosen]
    sizes, kinds = columns.tensor_constant_bytes[tensors], columns.tensor_type[tensors]
    integer = (kinds == _INTEGERS[0]) | (kinds == _INTEGERS[1])
    kept = (sizes > 0) & (sizes <= MAX_PARAMETER_BYTES) & integer
    return rows[chosen[kept]], positions[chosen[kept]], tensors[kept]
