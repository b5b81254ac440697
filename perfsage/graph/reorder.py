"""Write the same network with its operators in the order of least peak memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import tflite

from perfsage.errors import InvalidInputError
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.memory_plan import ALIGNMENT_BYTES, OFFLINE_PLAN, plan_memory
from perfsage.graph.memory_scratch import scratch_bytes
from perfsage.graph.reader import read_graph
from perfsage.graph.reorder_search import Problem, search
from perfsage.graph.schema import OPERATORS, slots

MAX_OPERATORS: Final = 5_000
CANDIDATES: Final = 8
"""Orders that are planned in full; what the search counts leaves out the gaps of a real plan."""

_STATEFUL_NAMES: Final = """
    CUSTOM CALL CALL_ONCE IF WHILE STABLEHLO_WHILE STABLEHLO_CUSTOM_CALL STABLEHLO_COMPOSITE VAR_HANDLE
    READ_VARIABLE ASSIGN_VARIABLE HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE DELEGATE
    RANDOM_UNIFORM RANDOM_STANDARD_NORMAL MULTINOMIAL STABLEHLO_RNG_BIT_GENERATOR
"""
_STATEFUL: Final = frozenset(_STATEFUL_NAMES.split())


@dataclass(frozen=True, slots=True)
class Reordering:
    """A model with the same operators in another order, and what that saves.

    `before_bytes` and `after_bytes` are peaks of TFLM's memory plan (arena head). `order[i]` is the old index
    of the operator that now runs as number i. `exact` says that no order keeps fewer bytes alive.
    """

    data: bytes
    before_bytes: int
    after_bytes: int
    order: tuple[int, ...]
    exact: bool


def reorder(data: bytes) -> Reordering:
    """Return the model in `data` with the operators of its main subgraph in the order of least peak memory.

    Only the operators' order changes: weights and everything else keep their bytes, and outputs stay the
    same. Never worse: when no order found is better, the model comes back as it was. Operators with state or
    side effects keep their order among themselves. Raises InvalidInputError when there is no static
    memory plan, when the file prescribes its own, or beyond 5,000 operators.
    """
    graph = read_graph(data)
    before = plan_memory(graph).peak_bytes
    if OFFLINE_PLAN in graph.metadata:
        raise InvalidInputError(
            "the file brings a memory plan for its present order of operators",
            where=f"metadata {OFFLINE_PLAN}",
            hint="Reorder the model before its memory is planned offline.",
        )
    orders, exact = search(_problem(graph))
    best = Reordering(bytes(data), before, before, tuple(range(len(graph.subgraphs[0].operators))), exact)
    for order in orders[:CANDIDATES]:
        changed = permute(data, order)
        after = plan_memory(read_graph(changed)).peak_bytes
        if after < best.after_bytes:
            best = Reordering(changed, before, after, tuple(order), exact)
    return best


def permute(data: bytes, order: Sequence[int]) -> bytes:
    """Return `data` with operator `order[i]` of the main subgraph as number i.

    Only the offsets in the vector of operators are rewritten. The caller sees to dependencies.
    """
    table = tflite.Model.GetRootAs(data, 0).Subgraphs(0)._tab
    start = table.Vector(table.Offset(4 + 2 * slots("SubGraph")["operators"])) if order else 0
    places = start + 4 * np.arange(len(order))
    targets = places + np.frombuffer(data, "<u4", len(order), start)
    moved = targets[list(order)] - places
    if (moved <= 0).any():
        raise InvalidInputError(
            "the operators cannot be moved, since one lies before the list of operators",
            where=f"byte {start}",
            hint="Convert the model again.",
        )
    changed = bytearray(data)
    changed[start : start + 4 * len(order)] = moved.astype("<u4").tobytes()
    return bytes(changed)


def _problem(graph: Graph) -> Problem:
    subgraph = graph.subgraphs[0]
    columns = subgraph.columns
    operators = len(columns.operator_type)
    if operators > MAX_OPERATORS:
        raise InvalidInputError(
            f"{operators} operators are too many to reorder",
            where="subgraph 0",
            hint=f"The limit is {MAX_OPERATORS}.",
        )
    planned = ~columns.tensor_is_constant & ~columns.tensor_is_variable
    size = np.where(planned, -(-columns.tensor_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES, 0).tolist()
    uses = [_distinct(columns.operator_inputs[i].tolist()) for i in range(operators)]
    makes = [_distinct(columns.operator_outputs[i].tolist()) for i in range(operators)]
    made = {tensor for outputs in makes for tensor in outputs}
    readers = _readers(uses, len(size))
    kept = [False] * len(size)
    for tensor in subgraph.outputs:
        kept[tensor] = True
    given = (tensor for tensor in _distinct(subgraph.inputs) if tensor not in made)
    start = sum(size[tensor] for tensor in given if readers[tensor] or kept[tensor])
    before = _before(subgraph, uses, makes)
    return Problem(uses, makes, size, readers, kept, before, _extra(subgraph), start)


def _distinct(tensors: Sequence[int]) -> list[int]:
    return [tensor for tensor in dict.fromkeys(tensors) if tensor >= 0]


def _readers(uses: list[list[int]], tensors: int) -> list[int]:
    readers = [0] * tensors
    for operator, inputs in enumerate(uses):
        for tensor in inputs:
            readers[tensor] |= 1 << operator
    return readers


def _extra(subgraph: Subgraph) -> list[int]:
    extra = [0] * len(subgraph.columns.operator_type)
    for operator, size in scratch_bytes(subgraph):
        extra[operator] += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    return extra


def _before(subgraph: Subgraph, uses: list[list[int]], makes: list[list[int]]) -> list[int]:
    """Return the operators that each must wait for: writers, earlier readers of what it overwrites, state."""
    columns = subgraph.columns
    variable = columns.tensor_is_variable.tolist()
    types = columns.operator_type.tolist()
    writer: dict[int, int] = {}
    reader: dict[int, int] = {}
    state = 0
    before = []
    for operator, (inputs, outputs) in enumerate(zip(uses, makes, strict=True)):
        waits = 0
        for tensor in inputs:
            waits |= writer.get(tensor, 0)
            reader[tensor] = reader.get(tensor, 0) | 1 << operator
        for tensor in outputs:
            waits |= writer.get(tensor, 0) | reader.get(tensor, 0)
            writer[tensor] = 1 << operator
        stateful = OPERATORS.get(types[operator], "CUSTOM") in _STATEFUL
        if stateful or any(variable[tensor] for tensor in inputs):
            waits |= state
            state |= 1 << operator
        before.append(waits & ~(1 << operator))
    return before
