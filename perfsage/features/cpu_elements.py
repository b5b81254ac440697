"""What a CPU takes for everything but convolutions and matrices, by the type of operator (8-bit).

XNNPACK goes element by element in vectors. What it refuses runs in LiteRT's own kernels, most of them one
value at a time, and so does, for all that is known here, any type that was never timed.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from perfsage.features.npu.work import Float64
from perfsage.features.operands import Operands, operator_flags

_PRICED: Final = ("call", "byte", "result", "position", "spread", "turn", "step", "scan", "ragged")
"""Calls, bytes read, results, positions of results, results that a smaller operand is spread over, matrices
that are transposed, MACs, channels by 32 of each element of a window, and those beyond the last 16."""
_XNNPACK_NS: Final[dict[str, dict[str, float]]] = {
    "ADD": {"call": 26, "byte": 0.037},
    "CONCATENATION": {"call": 140, "byte": 0.034, "position": 0.28},
    "DEPTH_TO_SPACE": {"call": 88, "byte": 0.13},
    "LEAKY_RELU": {"call": 19, "byte": 0.033},
    "LOGISTIC": {"call": 33, "byte": 0.019},
    "MAX_POOL_2D": {"byte": 0.0043, "result": 0.047, "position": 1.9, "scan": 0.25},
    "MEAN": {"call": 128, "byte": 0.011, "result": 0.9},
    "MUL": {"result": 0.015, "position": 0.048, "spread": 0.153},
    "PAD": {},
    "QUANTIZE": {},
    "RESHAPE": {},
    "RESIZE_BILINEAR": {"call": 200, "result": 0.206, "position": 0.945},
    "SPLIT": {"call": 6, "result": 0.143, "position": 3.57},
    "SUB": {"call": 26, "byte": 0.037},
    "TANH": {"call": 33, "byte": 0.019},
    "TRANSPOSE": {"call": 98, "position": 0.21, "turn": 17},
}
"""A PAD is fused into the convolution that reads it."""
_LITERT_NS: Final[dict[str, dict[str, float]]] = {
    "AVERAGE_POOL_2D": {"call": 140, "result": 2.56, "position": 2.12, "scan": 1.68, "ragged": 0.124},
    "BATCH_MATMUL": {"call": 180, "result": 3.33, "position": 7.8, "step": 0.063},
    "GELU": {"byte": 0.3},
    "HARD_SWISH": {"call": 24, "byte": 2.87},
    "RESIZE_NEAREST_NEIGHBOR": {"position": 9.49},
    "RSQRT": {"byte": 59},
    "SOFTMAX": {"call": 61, "byte": 1.79, "position": 1.88},
    "SQUARED_DIFFERENCE": {"result": 6.0},
    "STRIDED_SLICE": {"position": 62},
    "UNIDIRECTIONAL_SEQUENCE_LSTM": {"result": 228, "position": 108, "step": 0.04},
}
_OTHERS_NS: Final = {"result": 1.0}
_MATRICES: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def element_costs(operands: Operands, shapes: Float64, exact: Float64) -> Float64:
    """Return the nanoseconds of each operator, 0 of convolutions and matrices, float64[n]."""
    return np.asarray((_basis(operands, shapes, exact) * _NS[operands.type]).sum(axis=1))


def _basis(operands: Operands, shapes: Float64, exact: Float64) -> Float64:
    """Return how much there is of each of `_PRICED`, float64[n, 9]."""
    taps, channels = shapes[:, 7] * shapes[:, 8], shapes[:, 3]
    positions = shapes[:, :3].prod(axis=1)
    results, scans = positions * channels, positions * taps
    made = np.empty((len(taps), len(_PRICED)))
    made[:, 0] = 1.0
    made[:, 1] = exact[:, 2] - exact[:, 4]
    made[:, 2] = results
    # A slice that takes all that it passes is copied row by row.
    copied = operands.is_type("STRIDED_SLICE") & (2 * shapes[:, 1] > shapes[:, 4] + 1)
    made[:, 3] = np.where(copied, 0.0, positions)
    second = shapes[:, 10] != operands.elements[operands.data]
    made[:, 4] = results * (second & ~operands.has_weight)
    made[:, 5] = shapes[:, 0] * shapes[:, 1] * (channels != shapes[:, 6])
    made[:, 6] = exact[:, 0]
    made[:, 7] = scans * np.ceil(channels / 32)
    made[:, 8] = scans * (channels % 16)
    return made


def _table() -> Float64:
    """Return nanoseconds of each of `_PRICED` for each builtin operator, float64[256, 9]."""
    nothing: dict[str, dict[str, float]] = {name: {} for name in _MATRICES}
    prices = {**_XNNPACK_NS, **_LITERT_NS, **nothing}
    made = np.tile([_OTHERS_NS.get(name, 0.0) for name in _PRICED], (256, 1))
    for kind, each in prices.items():
        made[operator_flags((kind,))] = [each.get(name, 0.0) for name in _PRICED]
    return made


_NS: Final = _table()
