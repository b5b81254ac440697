"""Steps and lifetimes when control flow runs one subgraph inside another, counted as TFLM counts them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from perfsage.errors import InvalidInputError
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.lifetimes import NEVER
from perfsage.graph.schema import OPERATORS

Int64 = npt.NDArray[np.int64]

MAX_STEPS: Final = 100_000
MAX_DEPTH: Final = 64
BODIES: Final = {
    "IF": ("then_subgraph_index", "else_subgraph_index"),
    "WHILE": ("cond_subgraph_index", "body_subgraph_index"),
    "CALL_ONCE": ("init_subgraph_index",),
}
"""The options that name the subgraphs that an operator runs, in the order in which TFLM plans them."""


class Step(NamedTuple):
    """What happens at one step: an operator runs, or a subgraph is entered (`operator` is None)."""

    subgraph: int
    operator: int | None


class Spans(NamedTuple):
    """First and last step of each tensor of a subgraph, and of its operators: int64[2, n_operators]."""

    first: Int64
    last: Int64
    operators: Int64


Walked = tuple[tuple[Step, ...], list[Spans]]
"""All steps of an inference, and the spans of each subgraph."""


def walk(graph: Graph) -> Walked | None:
    """Return the steps of an inference and the spans of tensors and operators of each subgraph.

    None when the graph is a single subgraph, which needs no walk. Subgraphs that nothing calls keep the
    span -1 to -1. Raises InvalidInputError for calls that go too deep or repeat too often.
    """
    if len(graph.subgraphs) == 1:
        return None
    walker = _Walker(graph)
    if graph.subgraphs:
        walker.enter(0)
    return tuple(walker.steps), list(walker.spans.values())


class _Walker:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.spans: dict[int, Spans] = {part.index: _unused(part) for part in graph.subgraphs}

    @property
    def now(self) -> int:
        return len(self.steps) - 1

    def enter(self, index: int, depth: int = 0) -> None:
        if depth > MAX_DEPTH or len(self.steps) > MAX_STEPS:
            raise InvalidInputError(
                "its subgraphs are called too deep or too often",
                where=f"subgraph {index}",
                hint="No memory plan is made for a graph like this.",
            )
        self.steps.append(Step(index, None))
        part = self.graph.subgraphs[index]
        first, last, ranges = self.spans[index]
        edge = [*part.inputs, *part.outputs]
        first[edge] = last[edge] = self.now
        for row in range(len(part.columns.operator_type)):
            ranges[:, row] = self._run(part, row, depth)
        last[list(part.outputs)] = self.now

    def _run(self, part: Subgraph, row: int, depth: int) -> tuple[int, int]:
        first, last, _ = self.spans[part.index]
        outputs = part.columns.operator_outputs[row]
        inputs = part.columns.operator_inputs[row]
        self.steps.append(Step(part.index, row))
        start = self.now
        first[outputs[outputs >= 0]] = start
        for body in _bodies(self.graph, part, row):
            self.enter(body, depth + 1)
        last[outputs[outputs >= 0]] = last[inputs[inputs >= 0]] = self.now
        return start, self.now


def _unused(part: Subgraph) -> Spans:
    columns = part.columns
    never = np.full(len(columns.tensor_type), NEVER + 1)
    return Spans(never, never.copy(), np.full((2, len(columns.operator_type)), NEVER + 1))


def _bodies(graph: Graph, part: Subgraph, row: int) -> Iterator[int]:
    names = BODIES.get(OPERATORS.get(int(part.columns.operator_type[row]), ""), ())
    attributes = part.operators[row].attributes if names else {}
    for name in names:
        index = attributes.get(name, 0)
        if isinstance(index, int) and 0 <= index < len(graph.subgraphs):
            yield index
