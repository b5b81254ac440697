"""When the CPU does what an NPU cannot: as late as it can, next to what else it does.

Vela 5 moves the CPU's operators so that it and the NPU take turns less often (`ReorderOperations`): to a
graph's beginning where they need nothing of the NPU, to its end where nobody needs them, and else down to the
next one of them, or to the first one that reads what they make.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Operands
from perfsage.features.wiring import producers
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
Int64 = NDArray[np.int64]
_EARLY, _BETWEEN, _LATE = range(3)


def grouped(order: Int64, graph: Int64, subgraph: Subgraph, operands: Operands, outside: Flags) -> Int64:
    """Return `order` int64[n] with the rows of `outside` bool[n] moved; `graph` int64[n] is each row's."""
    rows = order[outside[order]]
    if not len(rows):
        return order
    count = len(order)
    # Counted from the end; what comes to the same place stands there in turns.
    anchor, turn = np.empty(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    anchor[order] = count - np.arange(count)
    phase = _phases(rows, subgraph, operands)
    maker, reader = _readers(subgraph, phase, outside)
    begin, end = np.searchsorted(maker, [rows, rows + 1])
    base = count - np.searchsorted(graph[order], graph[rows], side="right")
    latest, mine = (0, 0), -1
    for place in range(len(rows))[::-1]:
        row = int(rows[place])
        if graph[row] != mine:
            latest, mine = (int(base[place]), 0), int(graph[row])
        if phase[row] != _BETWEEN:
            continue
        those = reader[begin[place] : end[place]]
        nearest = max(zip(anchor[those].tolist(), turn[those].tolist(), strict=True), default=latest)
        latest = max(latest, nearest)
        latest = (latest[0], latest[1] + 1)
        anchor[row], turn[row] = latest
    return np.lexsort((-turn, -anchor, phase, graph))


def _phases(rows: Int64, subgraph: Subgraph, operands: Operands) -> Int64:
    """Return where in its graph each row comes; `rows` are those of the CPU, in order."""
    columns = subgraph.columns
    phase = np.full(len(operands.type), _BETWEEN)
    results = columns.operator_outputs
    leaving = np.zeros(operands.absent + 1, dtype=np.bool_)
    leaving[[*subgraph.outputs]] = True
    used = ~leaving | (operands.readers > 1)
    kept = np.bincount(results.row_indices, used[results.values], len(phase)) > 0
    phase[rows[~kept[rows]]] = _LATE
    table, made = columns.operator_inputs, producers(columns)
    for row in rows.tolist():
        needed = made[table.values[table.offsets[row] : table.offsets[row + 1]]]
        if (phase[needed[needed >= 0]] == _EARLY).all():
            phase[row] = _EARLY
    return phase


def _readers(subgraph: Subgraph, phase: Int64, outside: Flags) -> tuple[Int64, Int64]:
    """Return what the CPU makes and who reads it between, as rows, sorted by the first of them."""
    table = subgraph.columns.operator_inputs
    maker = np.where(table.values >= 0, producers(subgraph.columns)[table.values], -1)
    those = np.flatnonzero((maker >= 0) & (phase[table.row_indices] == _BETWEEN))
    those = those[outside[maker[those]]]
    those = those[np.argsort(maker[those], kind="stable")]
    return maker[those], table.row_indices[those]
