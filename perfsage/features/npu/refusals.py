"""Which operators Ethos-U compilers leave to the CPU: these take no time in an NPU's figure.

The rules are those that Vela 5 prints as constraints ("supported operators"): which types there are at all,
integers (never floats), and those of the other rules that real and sampled networks run into.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.axes import unable_means
from perfsage.features.npu.recurrent_memory import recurrent_refusals
from perfsage.features.operands import FLOATS, Operands, type_flags
from perfsage.graph.columns import Columns

Flags = NDArray[np.bool_]
MOST_SOFTMAX_ROWS = 65536
UNABLE = (*FLOATS, "UINT16", "UINT32", "UINT64", "INT4", "COMPLEX64", "COMPLEX128", "STRING")
"""Elements that no Ethos-U computes with."""
MOST_PLACES = 127
"""U55 and U65 find the largest of so many channels at most."""
_SUPPORTED = """
    ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED
    LOGISTIC MAX_POOL_2D MUL RELU RELU_0_TO_1 RELU6 RELU_N1_TO_1 RESHAPE REVERSE_V2 SOFTMAX TANH PAD
    TRANSPOSE MEAN SUB SQUEEZE STRIDED_SLICE EXP SPLIT PRELU MAXIMUM ARG_MAX MINIMUM PADV2 SLICE
    TRANSPOSE_CONV TILE EXPAND_DIMS SUM REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR RSQRT PACK UNPACK GELU ELU LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS
    SPLIT_V QUANTIZE HARD_SWISH LOG UNIDIRECTIONAL_SEQUENCE_LSTM NEG
"""
_SUPPORTED_U85 = """
    GATHER DIV CAST SELECT SELECT_V2 GREATER GREATER_EQUAL LESS LESS_EQUAL EQUAL NOT_EQUAL
    REDUCE_ANY REDUCE_ALL LOGICAL_OR LOGICAL_AND LOGICAL_NOT SCATTER_ND READ_VARIABLE
    ASSIGN_VARIABLE VAR_HANDLE
"""
_WIDE = """
    SUM ARG_MAX TRANSPOSE MIRROR_PAD ADD MUL SUB BATCH_MATMUL FULLY_CONNECTED RESHAPE SQUEEZE EXPAND_DIMS NEG
"""
WIDE = tuple(_WIDE.split())
"""What U55 and U65 can do with elements of 32 bits."""
_FREE = """
    ARG_MAX MIRROR_PAD QUANTIZE SHAPE TRANSPOSE GATHER_ND GATHER SELECT SELECT_V2 SCATTER_ND PAD PADV2
    REDUCE_ALL REDUCE_ANY EXPAND_DIMS VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE
"""
FREE = tuple(_FREE.split())
"""What needs no quantization."""
SMALL = ("INT8", "UINT8", "INT16")
SUPPORTED = tuple(_SUPPORTED.split())
SUPPORTED_U85 = (*SUPPORTED, *_SUPPORTED_U85.split())
"""What U55 and U65, and what U85 can do."""


def refusals(columns: Columns, operands: Operands, shapes: NDArray[np.float64]) -> Flags:
    """Return bool[n, 2]: left to the CPU by U55 and U65, and by U85."""
    strides = np.stack([columns.attribute("stride_h"), columns.attribute("stride_w")], axis=1)
    both = operands.is_type("SOFTMAX") & (shapes[:, :3].prod(axis=1) >= MOST_SOFTMAX_ROWS)
    both |= _of_types(operands, *UNABLE) | recurrent_refusals(columns, operands)
    both |= _unquantized(columns, operands)
    both |= unable_means(columns, operands)
    old = operands.is_type("TRANSPOSE_CONV") & (strides.max(axis=1) > 2)
    old |= operands.is_type("ARG_MAX") & (shapes[:, 6] > MOST_PLACES)
    old |= _of_types(operands, "BOOL") | (_of_types(operands, "INT32") & ~operands.is_type(*WIDE))
    old |= _of_types(operands, "INT64") & ~operands.is_type("ARG_MAX")
    old |= _far_convolutions(columns, operands, shapes, strides)
    made = [
        _resizes(columns, operands, shapes, u85=False) | old,
        _resizes(columns, operands, shapes, u85=True) | _low_zeros(operands),
    ]
    types = (SUPPORTED, SUPPORTED_U85)
    return np.stack(
        [both | refused | ~operands.is_type(*known) for refused, known in zip(made, types, strict=True)],
        axis=1,
    )


def _of_types(operands: Operands, *names: str) -> Flags:
    """Return which operators read or make elements of these types."""
    found = type_flags(names)[operands.tensor_type]
    return np.asarray(found[operands.data] | found[operands.result])


def _low_zeros(operands: Operands) -> Flags:
    """Return which softmaxes make 16 bits of 8, and what reads these: their zero is too low for U85.

    It is the least of all values, as TFLite defines them.
    """
    made = operands.is_type("SOFTMAX") & type_flags(("INT8",))[operands.tensor_type][operands.data]
    if made.any():
        made &= type_flags(("INT16",))[operands.tensor_type][operands.result]
        low = np.zeros(operands.absent + 1, dtype=np.bool_)
        low[operands.result[made]] = True
        made |= low[operands.data]
    return np.asarray(made)


def _unquantized(columns: Columns, operands: Operands) -> Flags:
    """Return which operators need a quantization that a small integer of theirs lacks."""
    bare = type_flags(SMALL)[operands.tensor_type]
    bare[:-1] &= ~columns.tensor_is_quantized
    if not bare.any():
        return np.zeros(len(operands.type), dtype=np.bool_)
    found = bare[operands.data] | bare[operands.second] | bare[operands.result]
    return np.asarray(found & ~operands.is_type(*FREE))


def _far_convolutions(
    columns: Columns, operands: Operands, shapes: NDArray[np.float64], strides: NDArray[np.integer]
) -> Flags:
    """Strides beyond 3 need plain kernels, and no element beside the image."""
    dilation = np.stack([columns.attribute(f"dilation_{axis}_factor") for axis in "hw"], axis=1)
    reach = (shapes[:, 1:3] - 1) * strides + (shapes[:, 7:9] - 1) * np.maximum(dilation, 1) + 1
    padded = (columns.attribute("padding") == 0) & (reach > shapes[:, 4:6]).any(axis=1)
    far = operands.is_type("CONV_2D") & (strides.max(axis=1) > 3)
    return np.asarray(far & ((dilation > 1).any(axis=1) | padded))


def _resizes(columns: Columns, operands: Operands, shapes: NDArray[np.float64], *, u85: bool) -> Flags:
    """Factors must be powers of two; on U55 and U65 2, 4 or 8 and alike, on U85 for bilinear ones only."""
    nearest = () if u85 else ("RESIZE_NEAREST_NEIGHBOR",)
    resize = operands.is_type("RESIZE_BILINEAR", *nearest)
    if not resize.any():
        return resize
    out, into = shapes[:, 1:3], shapes[:, 4:6]
    aligned = columns.attribute("align_corners").astype(bool)[:, None] & (into > 1)
    half = columns.attribute("half_pixel_centers").astype(bool) & operands.is_type("RESIZE_BILINEAR")
    factor = np.where(aligned, (out - 1) / np.maximum(into - 1, 1), out / into)
    unchanged = (into == 1).all(axis=1) | (out == into).all(axis=1)
    power = np.isin(factor, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]).all(axis=1)
    alike = np.isin(factor[:, 0], [2.0, 4.0, 8.0]) & (factor[:, 0] == factor[:, 1])
    fine = power if u85 else alike & (~half | (factor[:, 0] == 2.0))
    return np.asarray(resize & ~unchanged & ~fine)
