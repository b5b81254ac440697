"""The order in which an NPU's compiler runs operators, which is not that of the file.

Vela 5 goes from a graph's outputs back to its inputs (`Graph::TraverseGraphFromEnd`), from the last output
and the last operand to the first. What writes its part of a concatenation itself comes before what is copied
there. So 97 of 100 networks run as Vela has it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import ALIASES, JOINTS, PARTS
from perfsage.features.npu.grouping import grouped
from perfsage.features.operands import Operands
from perfsage.features.wiring import producers
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
Int64 = NDArray[np.int64]


def execution_order(subgraph: Subgraph, operands: Operands, refused: Flags) -> Int64:
    """Return the rows of operators as they run, int64[n]; graphs follow each other as they did.

    `refused` bool[n, 2] is what the CPU does. Operators that no output needs are the last of their graph.
    """
    outside = np.asarray(refused.any(axis=1))
    rows, makers = _dependencies(subgraph, operands, outside)
    begins = np.searchsorted(rows, np.arange(len(outside) + 1)).tolist()
    maker = producers(subgraph.columns)[[*subgraph.outputs]]
    place = _post_order(makers.tolist(), begins, maker[maker >= 0].tolist(), len(outside))
    graph = np.searchsorted(np.unique(subgraph.spans[0]), np.arange(len(outside)), side="right")
    return grouped(np.lexsort((place, graph)), graph, subgraph, operands, outside)


def direct_parts(subgraph: Subgraph, operands: Operands, refused: Flags) -> Flags:
    """Return which inputs of operators can be written where a concatenation of them lies, bool[inputs].

    The others are copied: something else decides where they are. `refused` bool[n] is what the CPU does.
    """
    values = subgraph.columns.operator_inputs.values
    edge = np.append(operands.constant[:-1], True)
    edge[[*subgraph.inputs, *subgraph.outputs]] = True
    moved = np.append(refused | operands.is_type(*ALIASES, *PARTS), True)
    return np.asarray(
        (operands.readers[values] == 1) & ~edge[values] & ~moved[producers(subgraph.columns)[values]]
    )


def _dependencies(subgraph: Subgraph, operands: Operands, outside: Flags) -> tuple[Int64, Int64]:
    """Return rows of operators, ascending, and what each needs, the one that runs last before it first."""
    table = subgraph.columns.operator_inputs
    rows, maker = table.row_indices, producers(subgraph.columns)[table.values]
    place = np.arange(len(rows))
    joined = operands.is_type(*JOINTS)[rows]
    if joined.any():
        copied = ~direct_parts(subgraph, operands, outside)
        # Those that are written directly run from the first to the last, and before those that are copied.
        place = np.where(joined, np.where(copied, place - 2 * len(rows), -place), place)
    order = np.lexsort((place, rows))
    order = order[maker[order] >= 0]
    return rows[order], maker[order]


def _post_order(makers: list[int], begins: list[int], ends: list[int], count: int) -> Int64:
    """Return the position of each row among those that `ends` need, after what it needs; else `count`."""
    done: list[int] = []
    seen, stack = bytearray(count), list(ends)
    while stack:
        row = stack.pop()
        if row < 0:
            done.append(~row)
        elif not seen[row]:
            seen[row] = 1
            stack.append(~row)
            stack.extend(makers[begins[row] : begins[row + 1]])
    order = np.full(count, count)
    order[done] = np.arange(len(done))
    return order
