"""When operators run on an NPU: the order that its compiler gives them, held against Vela's own."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.spaces import get_space
from perfsage.features.npu.schedule import execution_order
from perfsage.features.operands import Operands
from perfsage.graph import Graph, read_graph
from perfsage.graph.joining import join
from profilers.npu.configuration import parse_configuration
from profilers.npu.tasks import _compile, _rows


def _ours(graph: Graph) -> list[int]:
    subgraph = graph.subgraphs[0]
    refused = np.zeros((len(subgraph.operators), 2), dtype=np.bool_)
    return list(execution_order(subgraph, Operands(subgraph), refused))


def _velas(data: bytes) -> list[int]:
    """Return the operators of the file as Vela runs them, without those that it does on the way."""
    tables = _compile(parse_configuration("ethos-u55-128"), data, True).opt_database.tables
    source = {row["id"]: int(row["ext_key"]) for row in _rows(tables, "source")}
    found = [source.get(row["source_id"]) for row in _rows(tables, "perf")]
    return list(dict.fromkeys(row for row in found if row is not None))


@pytest.mark.parametrize("name", ["detection", "classification", "kws"])
@pytest.mark.parametrize("seed", [4_300_001, 4_300_003, 4_300_006])
def test_operators_run_in_velas_order(name: str, seed: int) -> None:
    data = get_space(name).build(seed, "int8").data
    theirs = _velas(data)
    ours = [row for row in _ours(read_graph(data)) if row in set(theirs)]
    assert ours == theirs


def test_joined_graphs_run_one_after_the_other() -> None:
    graphs = [read_graph(get_space("detection").build(seed, "int8").data) for seed in (4_300_001, 4_300_003)]
    parts = [graph.subgraphs[0] for graph in graphs]
    joined = join(parts)
    refused = np.zeros((len(joined.operators), 2), dtype=np.bool_)
    order = execution_order(joined, Operands(joined), refused)
    first, second = (_ours(graph) for graph in graphs)
    assert list(order) == first + [row + len(first) for row in second]
    assert first != sorted(first)
