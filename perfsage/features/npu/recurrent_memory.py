"""Which LSTMs an NPU does, how often a step of each is done, and what that takes of SRAM beside tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import BRICK
from perfsage.features.npu.work import Flags, Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.columns import Columns

Int64 = NDArray[np.int64]

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
GATES = 4
GATE_SLOTS = (8, 4, 5, 1, 7, 3, 6, 2)
"""Inputs of the operator with the recurrent and with the input weights of each gate, in the order of work."""
_UNABLE_SLOTS = (9, 10, 11, 16, 17, 20, 21, 22, 23)
"""Peepholes, a projection and layer normalization, which Vela leaves to the CPU."""
_STATE_BYTES, _CELL_BYTES, _GATE_BYTES = 1.0, 2.0, 2.0
_AT_ONCE_U55, _AT_ONCE_U85 = 5.0, 4.0
"""Results of gates in SRAM at the same time."""


@dataclass(frozen=True, slots=True)
class Lstms:
    """The LSTMs of a subgraph, `rows` int64[k] and the rest float64[k] unless named otherwise.

    A step over `together` sequences is done `times`, and the state is copied for `sequences` of its own.
    `weights` int64[k * len(GATE_SLOTS)] are tensors.
    """

    rows: Int64
    together: Float64
    units: Float64
    features: Float64
    times: Float64
    sequences: Float64
    weights: Int64


def lstms_of(subgraph: Subgraph, operands: Operands, shapes: Float64) -> Lstms:
    """Return the LSTMs; `shapes` as `Operands.shapes` gives them."""
    rows = np.flatnonzero(operands.is_type(LSTM))
    outer, inner, units, features = shapes[rows][:, [1, 2, 3, 6]].T
    major = subgraph.columns.attribute("time_major")[rows].astype(bool)
    return Lstms(
        rows=rows,
        together=np.where(major, inner, 1.0),
        units=units,
        features=features,
        times=np.where(major, outer, outer * inner),
        sequences=np.where(major, 0.0, outer),
        weights=_inputs(subgraph.columns, rows, GATE_SLOTS, operands.absent).ravel(),
    )


def recurrent_refusals(columns: Columns, operands: Operands) -> Flags:
    """Return which operators are LSTMs of a kind that Vela leaves to the CPU, bool[n]."""
    refused = operands.is_type(LSTM).copy()
    rows = np.flatnonzero(refused)
    if len(rows):
        missing = (_inputs(columns, rows, GATE_SLOTS, -1) < 0).any(axis=1)
        refused[rows] = missing | (_inputs(columns, rows, _UNABLE_SLOTS, -1) >= 0).any(axis=1)
    return refused


def recurrent_room(
    subgraph: Subgraph, operands: Operands, refused: Flags, sizes: Float64, *, u85: bool
) -> Float64 | float:
    """Return the bytes of SRAM that LSTMs take beside what they read and make, float64[n, 2].

    With the states where all of them is in SRAM, and without where they lie in DRAM. States are there from
    the beginning to the end, and so is the first gate of an LSTM, which needs nothing else, until it runs.
    `sizes` float64[2, tensors + 1] are the bytes of tensors in either case.
    """
    rows = np.flatnonzero(operands.is_type(LSTM) & ~refused)
    if not len(rows):
        return 0.0
    units = operands.dimensions[operands.result[rows], 3]
    gate = _GATE_BYTES * round_up(units, BRICK)
    states = round_up(_STATE_BYTES * units, BRICK) + round_up(_CELL_BYTES * units, BRICK)
    place = np.arange(len(refused))
    graph = np.searchsorted(np.unique(subgraph.spans[0]), place, side="right")
    made = np.zeros((len(refused), 2))
    made[:, 0] = np.bincount(graph[rows], states, graph.max() + 1)[graph]
    first = np.bincount(rows, gate, len(place))
    made += (np.cumsum(np.bincount(graph, first))[graph] - np.cumsum(first))[:, None]
    made[rows] += _gates(operands, rows, gate[:, None], sizes, u85=u85)
    return made


def _gates(operands: Operands, rows: Int64, gate: Float64, sizes: Float64, *, u85: bool) -> Float64:
    """Return the bytes of gates, float64[k, 2], for `gate` float64[k, 1] each.

    What an LSTM of one step reads dies before its last gates, and what it makes is not there before.
    """
    most = (_AT_ONCE_U85 if u85 else _AT_ONCE_U55) * gate
    once = operands.dimensions[operands.result[rows], :3].prod(axis=1) == 1
    data, result = (sizes[:, each[rows]].T for each in (operands.data, operands.result))
    least = np.maximum(_AT_ONCE_U85 * gate + data, most) - data - result
    return np.where(once[:, None], least, most)


def _inputs(columns: Columns, rows: Int64, slots: tuple[int, ...], absent: int) -> Int64:
    """Return the tensors in these slots of some operators, int64[k, slots]; `absent` where there is none."""
    table = columns.operator_inputs
    where = table.offsets[rows, None] + np.array(slots)
    there = where < table.offsets[rows + 1, None]
    found = np.append(table.values, -1)[np.where(there, where, len(table.values))].astype(np.int64)
    return np.where(found >= 0, found, absent)
