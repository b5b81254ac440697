"""Costs of a model's operators in the form of Model Explorer's node data: by the name of an output tensor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from api.workflows.inspect import OperatorRow, inspect_graph
from perfsage.graph import Graph
from perfsage.prediction import Prediction

GRADIENT = [
    {"stop": 0, "bgColor": "#f3f8fa"},
    {"stop": 0.5, "bgColor": "#f2c14e"},
    {"stop": 1, "bgColor": "#d1495b"},
]
_EXACT: Mapping[str, Callable[[OperatorRow], int | None]] = {
    "MACs": lambda row: row.macs,
    "parameters": lambda row: row.parameters,
    "bytes read and written": lambda row: (
        None if row.read_bytes is None or row.written_bytes is None else row.read_bytes + row.written_bytes
    ),
}


def node_data(graph: Graph, prediction: Prediction | None, *, subgraph: int = 0) -> list[dict[str, Any]]:
    """Return one data set a quantity: predicted latency in ms where there is one, MACs, parameters, bytes.

    Operators whose value is not known are left out, and so are outputs without a name.
    """
    rows = [row for row in inspect_graph(graph).operators if row.operator.subgraph == subgraph]
    sets = []
    if prediction is not None and prediction.operators:
        latency = {(o.subgraph, o.index): o.latency_ms for o in prediction.operators}
        value = _looking_up(latency)
        sets.append(_data_set(f"latency on {prediction.device} (ms, predicted)", rows, value))
    return sets + [_data_set(name, rows, value) for name, value in _EXACT.items()]


def node_data_json(graph: Graph, prediction: Prediction | None, name: str = "main") -> str:
    """Return the first data set as a file that Model Explorer loads beside a model, for the graph `name`."""
    return json.dumps({name: node_data(graph, prediction)[0]})


def _looking_up(values: Mapping[tuple[int, int], float]) -> Callable[[OperatorRow], float | None]:
    return lambda row: values.get((row.operator.subgraph, row.operator.index))


def _data_set(
    name: str, rows: list[OperatorRow], value: Callable[[OperatorRow], float | None]
) -> dict[str, Any]:
    results = {
        row.output_names[0]: {"value": found}
        for row in rows
        if row.output_names and row.output_names[0] and (found := value(row)) is not None
    }
    return {"name": name, "results": results, "gradient": GRADIENT}
