"""What a model is made of, with the exact figures that follow from its structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.workflows.inspect_plan import plan_dict, plan_of
from api.workflows.models import naming, read_graph_file

if TYPE_CHECKING:
    from perfsage.graph import Graph, Operator, Subgraph
    from perfsage.graph.costs import OperatorCosts, UnknownOperator
    from perfsage.graph.memory_plan import MemoryPlan


LONGEST_NAME = 500
"""Names come from the file, and nothing bounds them there."""


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One operator with its shapes and costs; None where a cost is unknown."""

    operator: Operator
    input_shapes: tuple[tuple[int, ...] | None, ...]
    output_shapes: tuple[tuple[int, ...] | None, ...]
    output_types: tuple[str, ...]
    output_names: tuple[str, ...]
    macs: int | None
    parameters: int | None
    read_bytes: int | None
    written_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; unknown costs are null."""
        return {
            "subgraph": self.operator.subgraph,
            "index": self.operator.index,
            "type": self.operator.type,
            "input_shapes": [shape and list(shape) for shape in self.input_shapes],
            "output_shapes": [shape and list(shape) for shape in self.output_shapes],
            "output_types": list(self.output_types),
            "outputs": list(self.operator.outputs),
            "output_names": [name[:LONGEST_NAME] for name in self.output_names],
            "macs": self.macs,
            "parameters": self.parameters,
            "read_bytes": self.read_bytes,
            "written_bytes": self.written_bytes,
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that `perfsage inspect` shows of one model.

    `macs` leaves out the operators in `unknown`; `plan` is None with `plan_unavailable` as the reason.
    """

    path: Path | None
    graph: Graph
    operators: tuple[OperatorRow, ...]
    macs: int
    parameters: int
    unknown: tuple[UnknownOperator, ...]
    plan: MemoryPlan | None
    plan_unavailable: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        graph = self.graph
        return {
            "path": None if self.path is None else str(self.path),
            "model_id": graph.model_id,
            "graph_id": graph.graph_id,
            "file_bytes": graph.file_bytes,
            "subgraphs": len(graph.subgraphs),
            "inputs": _tensor_dicts(graph, "inputs"),
            "outputs": _tensor_dicts(graph, "outputs"),
            "macs": self.macs,
            "parameters": self.parameters,
            "unknown_costs": [
                {"subgraph": u.subgraph, "index": u.index, "type": u.type, "reason": u.reason}
                for u in self.unknown
            ],
            "memory_plan": self._plan_dict(),
            "operators": [row.to_dict() for row in self.operators],
        }

    def _plan_dict(self) -> dict[str, Any]:
        if self.plan is None:
            return {"peak_bytes": None, "availability": "unavailable", "reason": self.plan_unavailable}
        return plan_dict(self.plan)


def inspect_model(path: Path) -> Inspection:
    """Read and cost the model at `path`; errors name the file."""
    graph = read_graph_file(path)
    with naming(str(path)):
        return inspect_graph(graph, path)


def inspect_graph(graph: Graph, path: Path | None = None) -> Inspection:
    """Cost a graph that was read already."""
    from perfsage.graph.costs import graph_macs, graph_parameters

    macs, unknown = graph_macs(graph)
    plan, reason = plan_of(graph)
    return Inspection(
        path=path,
        graph=graph,
        operators=tuple(_rows(graph)),
        macs=macs,
        parameters=graph_parameters(graph),
        unknown=unknown,
        plan=plan,
        plan_unavailable=reason,
    )


def _rows(graph: Graph) -> Iterator[OperatorRow]:
    from perfsage.graph.costs import operator_costs

    for subgraph in graph.subgraphs:
        costs = operator_costs(subgraph)
        for operator in subgraph.operators:
            yield _row(subgraph, operator, costs)


def _row(subgraph: Subgraph, operator: Operator, costs: OperatorCosts) -> OperatorRow:
    def shape(index: int) -> tuple[int, ...] | None:
        return tuple(subgraph.tensors[index].shape) if index >= 0 else None

    return OperatorRow(
        operator=operator,
        input_shapes=tuple(shape(index) for index in operator.inputs),
        output_shapes=tuple(shape(index) for index in operator.outputs),
        output_types=tuple(subgraph.tensors[index].type for index in operator.outputs if index >= 0),
        output_names=tuple(subgraph.tensors[index].name for index in operator.outputs if index >= 0),
        macs=_known(costs.macs[operator.index]),
        parameters=_known(costs.parameters[operator.index]),
        read_bytes=_known(costs.read_bytes[operator.index]),
        written_bytes=_known(costs.written_bytes[operator.index]),
    )


def _known(value: Any) -> int | None:
    return int(value) if value >= 0 else None


def _tensor_dicts(graph: Graph, which: str) -> list[dict[str, Any]]:
    if not graph.subgraphs:
        return []
    main = graph.subgraphs[0]
    tensors = [main.tensors[index] for index in getattr(main, which)]
    return [{"name": t.name[:LONGEST_NAME], "type": t.type, "shape": list(t.shape)} for t in tensors]
