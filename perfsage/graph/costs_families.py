"""How each builtin operator is counted: one family per operator, chosen on purpose.

Names come from `tflite.BuiltinOperator`; a test says that none of them is missing here. An operator that
is not listed (a newer schema's) has an unknown cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from perfsage.graph.schema import OPERATORS


class Family(IntEnum):
    """Which formula counts an operator's work; `perfsage.graph.costs` states the formulas."""

    UNKNOWN = 0
    FILTER = 1
    BATCH_MATMUL = 2
    RECURRENT = 3
    DOT_GENERAL = 4
    HLO_CONVOLUTION = 5
    PER_OUTPUT = 6
    PER_INPUT = 7
    PER_UPDATE = 8
    WINDOW = 9
    BILINEAR = 10
    SUM_OF_INPUTS = 11
    MOVEMENT = 12


@dataclass(frozen=True, slots=True)
class FilterRule:
    """MACs = elements of `base` x elements of the filter / the filter's dimension `axis`.

    The filter is input 1. `base` is 0 for the output (every output element sums over the filter) or 2 for
    input 2 (transposed convolutions: every input element is spread over the filter).
    """

    base: int
    axis: int


_FILTERS: Final = {
    "CONV_2D": FilterRule(0, 0),  # filter [out, h, w, in / groups]
    "DEPTHWISE_CONV_2D": FilterRule(0, -1),  # filter [1, h, w, in * multiplier]
    "FULLY_CONNECTED": FilterRule(0, 0),  # weights [units, in]
    "TRANSPOSE_CONV": FilterRule(2, -1),  # filter [out, h, w, in]
    "CONV_3D": FilterRule(0, -1),  # filter [d, h, w, in, out]
    "CONV_3D_TRANSPOSE": FilterRule(2, -1),  # filter [d, h, w, out, in]
}

_LSTM_WEIGHTS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16)
RECURRENT_WEIGHTS: Final[dict[str, tuple[int, ...]]] = {
    "LSTM": _LSTM_WEIGHTS,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM_WEIGHTS,
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*_LSTM_WEIGHTS, *range(18, 29), 33, *range(40, 48)),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2, 5, 6, 10, 11),
    "SVDF": (1, 2),
}
"""Inputs whose every element is multiplied once per batch entry and time step."""

_PER_OUTPUT: Final = """
    ADD SUB MUL DIV POW FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM SQUARED_DIFFERENCE ATAN2 ABS NEG SIGN SQUARE SQRT
    RSQRT EXP LOG SIN COS CEIL FLOOR ROUND RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU PRELU ELU GELU
    HARD_SWISH LOGISTIC TANH SOFTMAX LOG_SOFTMAX L2_NORMALIZATION LOCAL_RESPONSE_NORMALIZATION QUANTIZE
    DEQUANTIZE FAKE_QUANT CAST LESS LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL LOGICAL_AND LOGICAL_OR
    LOGICAL_NOT SELECT SELECT_V2 BITWISE_XOR RIGHT_SHIFT COMPLEX_ABS BUCKETIZE CUMSUM RANDOM_UNIFORM
    RANDOM_STANDARD_NORMAL MULTINOMIAL STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY
    STABLEHLO_MAXIMUM STABLEHLO_MINIMUM STABLEHLO_CLAMP STABLEHLO_ABS STABLEHLO_AND STABLEHLO_OR
    STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_NEGATE STABLEHLO_POWER
    STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_COMPARE
    STABLEHLO_CONVERT STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_RNG_BIT_GENERATOR
"""
_PER_INPUT: Final = """
    MEAN SUM REDUCE_PROD REDUCE_MAX REDUCE_MIN REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN SEGMENT_SUM
    UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM UNSORTED_SEGMENT_MIN
"""
_MOVEMENT: Final = """
    RESHAPE SQUEEZE EXPAND_DIMS CONCATENATION PAD PADV2 MIRROR_PAD STABLEHLO_PAD TRANSPOSE STABLEHLO_TRANSPOSE
    SLICE STRIDED_SLICE STABLEHLO_SLICE STABLEHLO_DYNAMIC_SLICE DYNAMIC_UPDATE_SLICE
    STABLEHLO_DYNAMIC_UPDATE_SLICE SPLIT SPLIT_V PACK UNPACK GATHER GATHER_ND STABLEHLO_GATHER TILE
    BROADCAST_TO BROADCAST_ARGS STABLEHLO_BROADCAST_IN_DIM STABLEHLO_RESHAPE STABLEHLO_CONCATENATE
    STABLEHLO_IOTA DEPTH_TO_SPACE SPACE_TO_DEPTH BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 REVERSE_SEQUENCE SHAPE RANK FILL RANGE ZEROS_LIKE ONE_HOT MATRIX_DIAG
    MATRIX_SET_DIAG EMBEDDING_LOOKUP SPARSE_TO_DENSE DENSIFY DILATE BITCAST REAL IMAG VAR_HANDLE
    READ_VARIABLE ASSIGN_VARIABLE
"""

REASONS: Final[dict[str, str]] = {
    "CUSTOM": "a custom operator has no published definition",
    "DELEGATE": "the work is inside a delegate",
    "PLACEHOLDER_FOR_GREATER_OP_CODES": "it is a placeholder and not an operator",
    "CALL": "its cost is that of the subgraph that it calls",
    "CALL_ONCE": "it runs once and not in every inference",
    "IF": "which of its subgraphs runs depends on the data",
    "WHILE": "how often its body runs depends on the data",
    "STABLEHLO_WHILE": "how often its body runs depends on the data",
    "STABLEHLO_COMPOSITE": "its cost is that of the subgraph that it names",
    "STABLEHLO_CUSTOM_CALL": "a custom call has no published definition",
    "STABLEHLO_REDUCE": "its reducer is a subgraph of its own",
    "STABLEHLO_REDUCE_WINDOW": "its reducer is a subgraph of its own",
    "STABLEHLO_SCATTER": "its combiner is a subgraph of its own",
    "STABLEHLO_SORT": "its comparisons depend on the data",
    "REDUCE_WINDOW": "its window is an input and not an attribute",
    "TOPK_V2": "its comparisons depend on the data",
    "UNIQUE": "its comparisons depend on the data",
    "WHERE": "the size of its result depends on the data",
    "NON_MAX_SUPPRESSION_V4": "its comparisons depend on the data",
    "NON_MAX_SUPPRESSION_V5": "its comparisons depend on the data",
    "EMBEDDING_LOOKUP_SPARSE": "how many rows it combines depends on the data",
    "HASHTABLE": "the cost of a hash table is not defined",
    "HASHTABLE_LOOKUP": "the cost of a hash table is not defined",
    "HASHTABLE_FIND": "the cost of a hash table is not defined",
    "HASHTABLE_IMPORT": "the cost of a hash table is not defined",
    "HASHTABLE_SIZE": "the cost of a hash table is not defined",
    "LSH_PROJECTION": "the cost of its hash is not defined",
    "SKIP_GRAM": "its cost depends on the text",
    "CONCAT_EMBEDDINGS": "no runtime implements it",
    "RFFT2D": "the operations of a Fourier transform depend on the algorithm",
}
"""Why an operator of family UNKNOWN has no defined cost."""

_CONTROL_INPUTS: Final[dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(["RESHAPE", "PAD", "PADV2", "MIRROR_PAD", "TRANSPOSE", "MEAN", "SUM"], (1,)),
    **dict.fromkeys(["REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"], (1,)),
    **dict.fromkeys(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "ARG_MAX", "ARG_MIN"], (1,)),
    **dict.fromkeys(["TILE", "EXPAND_DIMS", "CUMSUM", "TOPK_V2", "BROADCAST_TO", "REVERSE_V2"], (1,)),
    **dict.fromkeys(["GATHER", "GATHER_ND", "REVERSE_SEQUENCE", "SEGMENT_SUM", "RFFT2D"], (1,)),
    **dict.fromkeys(["SPLIT", "FILL", "TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "EMBEDDING_LOOKUP"], (0,)),
    **dict.fromkeys(["SPLIT_V", "SLICE", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"], (1, 2)),
    **dict.fromkeys(["STRIDED_SLICE"], (1, 2, 3)),
    **dict.fromkeys(["UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX"], (1, 2)),
    **dict.fromkeys(["UNSORTED_SEGMENT_SUM", "UNSORTED_SEGMENT_MIN", "DYNAMIC_UPDATE_SLICE"], (1, 2)),
    **dict.fromkeys(["RANGE", "BROADCAST_ARGS", "SHAPE", "RANK"], (0, 1, 2)),
    **dict.fromkeys(["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"], (0,)),
    "DYNAMIC_UPDATE_SLICE": (2,),
    "ONE_HOT": (1,),
    "SCATTER_ND": (0, 2),
    "SPARSE_TO_DENSE": (0, 1),
    "MULTINOMIAL": (1,),
    "DILATE": (1,),
    "STABLEHLO_GATHER": (1,),
    "STABLEHLO_DYNAMIC_SLICE": tuple(range(1, 16)),
    "STABLEHLO_DYNAMIC_UPDATE_SLICE": tuple(range(2, 16)),
}
"""Inputs that say what to do (shapes, axes, indices) and are no parameters, even when constant."""


def family_of(name: str) -> Family:
    """Return the family of the builtin operator called `name`; UNKNOWN when it has no defined cost."""
    return _families().get(name, Family.UNKNOWN)


def filter_rule(name: str) -> FilterRule:
    """Return how the operator called `name`, of family FILTER, uses its filter."""
    return _FILTERS[name]


def classified() -> frozenset[str]:
    """Return the names that have a family or a reason."""
    return frozenset(_families()) | frozenset(REASONS)


@cache
def _families() -> dict[str, Family]:
    special = {
        "BATCH_MATMUL": Family.BATCH_MATMUL,
        "STABLEHLO_DOT_GENERAL": Family.DOT_GENERAL,
        "STABLEHLO_CONVOLUTION": Family.HLO_CONVOLUTION,
        "AVERAGE_POOL_2D": Family.WINDOW,
        "MAX_POOL_2D": Family.WINDOW,
        "L2_POOL_2D": Family.WINDOW,
        "RESIZE_BILINEAR": Family.BILINEAR,
        "ADD_N": Family.SUM_OF_INPUTS,
        "SCATTER_ND": Family.PER_UPDATE,
    }
    return {
        **dict.fromkeys(_FILTERS, Family.FILTER),
        **dict.fromkeys(RECURRENT_WEIGHTS, Family.RECURRENT),
        **dict.fromkeys(_PER_OUTPUT.split(), Family.PER_OUTPUT),
        **dict.fromkeys(_PER_INPUT.split(), Family.PER_INPUT),
        **dict.fromkeys(_MOVEMENT.split(), Family.MOVEMENT),
        **special,
    }


@dataclass(frozen=True, slots=True)
class Tables:
    """The classification as arrays indexed by builtin code; the last row stands for unlisted codes."""

    family: npt.NDArray[np.int8]
    filter_base: npt.NDArray[np.int8]
    filter_from_end: npt.NDArray[np.bool_]
    control_inputs: npt.NDArray[np.int64]
    """Bit i is set when input i is a control input."""


@cache
def tables() -> Tables:
    """Return the classification by builtin code."""
    size = max(OPERATORS) + 2
    made = Tables(
        family=np.zeros(size, np.int8),
        filter_base=np.zeros(size, np.int8),
        filter_from_end=np.zeros(size, np.bool_),
        control_inputs=np.zeros(size, np.int64),
    )
    for code, name in OPERATORS.items():
        made.family[code] = family_of(name)
        made.control_inputs[code] = sum(1 << i for i in _CONTROL_INPUTS.get(name, ()))
        if name in _FILTERS:
            made.filter_base[code] = _FILTERS[name].base
            made.filter_from_end[code] = _FILTERS[name].axis == -1
    for column in (made.family, made.filter_base, made.filter_from_end, made.control_inputs):
        _freeze(column)
    return made


def _freeze(column: npt.NDArray[Any]) -> None:
    column.flags.writeable = False
