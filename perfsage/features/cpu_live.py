"""Bytes of tensors that LiteRT holds on a CPU's heap while each operator runs.

XNNPACK takes operators that follow each other together. What only they use lies in a workspace that all such
runs share; everything else lies in LiteRT's arena, inputs and outputs all the time, and a run is one step
there. Some results take no room: a sum may be written over a term, x times sigmoid(x) is one operator over
x, and a convolution pads what it reads by itself. An arena stays as large as it had to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfsage.features.cpu_heap import taken
from perfsage.features.npu.work import Float64
from perfsage.features.operands import Flags, Operands
from perfsage.graph import Subgraph
from perfsage.graph.lifetimes import NEVER, Lifetimes, live_bytes

Int64 = NDArray[np.int64]

_IN_PLACE: Final = (
    *("ADD", "LEAKY_RELU", "LOGISTIC", "MUL", "QUANTIZE", "RELU", "RELU6", "RESHAPE", "SUB", "TANH"),
)
_VALID: Final = 1


@dataclass(frozen=True, slots=True)
class _Runs:
    """`taken` bool[n], the operators that run together int64[n]: their number, first and last one."""

    taken: Flags
    number: Int64
    first: Int64
    last: Int64


def heap_live_bytes(subgraph: Subgraph, operands: Operands, lives: Lifetimes) -> Float64:
    """Return the arena's size and what is in the workspace while each operator runs, float64[n]."""
    count, starts = len(operands.type), subgraph.operator_starts
    counts = (lives.first > NEVER) & ~subgraph.columns.tensor_is_variable
    size = np.append(np.where(counts, np.maximum(subgraph.columns.tensor_bytes, 0), 0), 0)
    begin = np.append(np.maximum(lives.first, subgraph.spans[0]), 0)
    last = np.append(np.maximum(lives.last, 0), 0)
    fused = _fused(operands, size)
    _pad_in_place(subgraph, operands, size, last)
    runs = _runs(operands, starts)
    inner = (size > 0) & runs.taken[begin] & (runs.number[begin] == runs.number[last])
    inner[[*subgraph.inputs, *subgraph.outputs]] = False
    work = live_bytes(begin[inner], last[inner], size[inner], count)
    work -= _overwritten(operands, size, last, inner, fused)
    arena = np.maximum.reduceat(_arena_bytes(subgraph, begin, last, size * ~inner, runs), starts[:-1])
    return np.asarray(work + np.repeat(arena, np.diff(starts)), dtype=np.float64)


def _runs(operands: Operands, starts: Int64) -> _Runs:
    """Return which operators run together: none of those that are left to LiteRT does with another."""
    by = taken(operands)
    begins = np.concatenate([[True], ~(by[1:] & by[:-1])])
    begins[starts[:-1]] = True
    firsts = np.flatnonzero(begins)
    number = np.cumsum(begins) - 1
    return _Runs(by, number, firsts[number], np.append(firsts[1:], len(by))[number] - 1)


def _arena_bytes(subgraph: Subgraph, begin: Int64, last: Int64, size: Int64, runs: _Runs) -> Int64:
    """Return what is in LiteRT's arena while each operator runs, int64[n]; `size` is 0 of what is not."""
    used = np.flatnonzero(size[:-1])
    kept = np.zeros(len(size), dtype=np.bool_)
    kept[[*subgraph.inputs, *subgraph.outputs]] = True
    first, final = runs.first[begin[used]], runs.last[np.maximum(last, begin)[used]]
    spans = subgraph.spans
    first = np.where(kept[used], spans[0][used], first)
    final = np.where(kept[used], spans[1][used] - 1, final)
    return live_bytes(first, final, size[used], len(runs.taken))


def _fused(operands: Operands, size: Int64) -> Int64:
    """Return what each operator that multiplies x by sigmoid(x) takes for x, else none; drop sigmoid(x)."""
    x = np.full(len(operands.type), operands.absent)
    rows = np.flatnonzero(operands.is_type("MUL"))
    if not len(rows) or not operands.is_type("LOGISTIC").any():
        return x
    maker = np.full(operands.absent + 1, -1)
    maker[operands.result] = np.arange(len(x))
    pair = operands.data[rows], operands.second[rows]
    for plain, sigmoid in (pair, pair[::-1]):
        by = maker[sigmoid]
        found = (by >= 0) & operands.is_type("LOGISTIC")[by] & (operands.data[by] == plain)
        found &= operands.readers[sigmoid] == 1
        x[rows[found]] = plain[found]
        size[sigmoid[found]] = 0
    return x


def _pad_in_place(subgraph: Subgraph, operands: Operands, size: Int64, last: Int64) -> None:
    """Let what a convolution pads by itself take no room, and what is padded live until then."""
    rows = np.flatnonzero(operands.is_type("PAD"))
    if not len(rows):
        return
    padded = operands.result[rows]
    reader = last[padded]
    pads = operands.is_type("CONV_2D", "DEPTHWISE_CONV_2D")
    pads = pads & (subgraph.columns.attribute("padding") == _VALID)
    within = (operands.readers[padded] == 1) & pads[reader] & (operands.data[reader] == padded)
    padded, source = padded[within], operands.data[rows[within]]
    size[padded] = 0
    np.maximum.at(last, source, last[padded])


def _overwritten(operands: Operands, size: Int64, last: Int64, inner: Flags, fused: Int64) -> Int64:
    """Return the bytes of each result that is written over an operand, int64[n]."""
    result, rows = operands.result, np.arange(len(fused))
    fits = operands.is_type(*_IN_PLACE) & inner[result]
    found = np.zeros(len(rows), dtype=np.bool_)
    for source, readers in ((operands.data, 1), (operands.second, 1), (fused, 2)):
        dies = inner[source] & (last[source] == rows) & (operands.readers[source] == readers)
        found |= fits & dies & (size[source] >= size[result])
    return np.where(found, size[result], 0)
