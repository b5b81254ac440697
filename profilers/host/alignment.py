"""Which operator of the model a kernel of XNNPACK belongs to.

LiteRT's built-in operators name their index; XNNPACK's kernels only their kind, in the order in which the
delegate built them from operators. So kernels and delegated operators are aligned like two texts: as many
pairs of matching kind as possible, in order. A kernel without a partner (a conversion put before a
convolution, say) counts towards the next kernel's operator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_CELLS = 4_000_000  # seconds of work; beyond it operators are left without a profile

# Kernels whose names do not contain the operator's own, by the words that they begin with.
_KINDS = {
    "fullyconnected": ("FULLY_CONNECTED", "CONV_2D", "BATCH_MATMUL"),
    "convolution": ("CONV_2D",),
    "deconvolution": ("TRANSPOSE_CONV",),
    "averagepooling": ("AVERAGE_POOL_2D",),
    "globalaveragepooling": ("AVERAGE_POOL_2D", "MEAN"),
    "maxpooling": ("MAX_POOL_2D",),
    "subtract": ("SUB",),
    "multiply": ("MUL",),
    "divide": ("DIV",),
    "square": ("MUL", "SQUARE"),
    "convert": ("QUANTIZE", "DEQUANTIZE", "CAST"),
    "staticreshape": ("RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
    "copy": ("RESHAPE", "CONCATENATION", "SPLIT", "EXPAND_DIMS", "SQUEEZE"),
    "constantpad": ("PAD", "PADV2"),
    "staticconstantpad": ("PAD", "PADV2"),
    "sigmoid": ("LOGISTIC",),
    "clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"),
    "reduce": ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"),
    "sum": ("SUM", "MEAN"),
    "slice": ("SLICE", "STRIDED_SLICE", "SPLIT"),
    "staticslice": ("SLICE", "STRIDED_SLICE", "SPLIT"),
    "batchmatrixmultiply": ("BATCH_MATMUL",),
    "reciprocalsquareroot": ("RSQRT",),
    "squareroot": ("SQRT",),
    "invalidunaryop": ("MUL", "SUB", "ADD", "DIV", "SQRT"),
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """One event of LiteRT's profiler; `index` is the operator's only where `delegated` is false."""

    tag: str
    delegated: bool
    index: int
    microseconds: float


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """An operator's mean time, and whether XNNPACK ran it."""

    index: int
    microseconds: float
    delegated: bool


def operator_times(kernels: Sequence[Kernel], types: Sequence[str]) -> tuple[list[OperatorTime], float]:
    """Return times by operator of subgraph 0, whose `types` are given, and microseconds left over."""
    times = [OperatorTime(k.index, k.microseconds, False) for k in kernels if not k.delegated]
    known = {time.index for time in times}
    free = [index for index in range(len(types)) if index not in known]
    delegated = [kernel for kernel in kernels if kernel.delegated]
    matched = _align([k.tag for k in delegated], [types[index] for index in free])
    totals: dict[int, float] = {}
    for kernel, position in zip(delegated, _fill(matched), strict=True):
        if position is not None:
            totals[free[position]] = totals.get(free[position], 0.0) + kernel.microseconds
    times += [OperatorTime(index, total, True) for index, total in totals.items()]
    left = sum(k.microseconds for k in kernels) - sum(time.microseconds for time in times)
    return sorted(times, key=lambda time: time.index), max(0.0, left)


def matches(tag: str, operator_type: str) -> bool:
    """Say whether a kernel called `tag` can come from an operator of this type."""
    words = re.sub(r"\(.*?\)", " ", tag)
    if "DWConv" in words:
        return operator_type == "DEPTHWISE_CONV_2D"
    name = re.sub(r"[^a-z0-9]", "", re.sub(r"\b(IGEMM|GEMM)\b.*", "", words).lower())
    kinds = _KINDS.get(name)
    if kinds is not None:
        return operator_type in kinds
    return operator_type.replace("_", "").lower() in name


def _align(tags: Sequence[str], types: Sequence[str]) -> list[int | None]:
    """Return for each tag the position of its type, or None: a longest common subsequence."""
    if len(tags) * len(types) > _MAX_CELLS:
        return [None] * len(tags)
    pairs = {tag: {kind: matches(tag, kind) for kind in set(types)} for tag in set(tags)}
    best = [[0] * (len(types) + 1) for _ in range(len(tags) + 1)]
    for i in range(len(tags) - 1, -1, -1):
        fits, row, below = pairs[tags[i]], best[i], best[i + 1]
        for j in range(len(types) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if fits[types[j]] else max(below[j], row[j + 1])
    positions: list[int | None] = [None] * len(tags)
    i = j = 0
    while i < len(tags) and j < len(types):
        if pairs[tags[i]][types[j]]:
            positions[i] = j
            i, j = i + 1, j + 1
        elif best[i + 1][j] >= best[i][j + 1]:
            i += 1
        else:
            j += 1
    return positions


def _fill(positions: Sequence[int | None]) -> list[int | None]:
    """Give kernels without a partner to the next one that has one, or to the last."""
    filled = list(positions)
    following = next((p for p in reversed(positions) if p is not None), None)
    for i in range(len(filled) - 1, -1, -1):
        if filled[i] is None:
            filled[i] = following
        following = filled[i]
    return filled
