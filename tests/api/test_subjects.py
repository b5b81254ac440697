"""What a model is said to be is the same in process and in the service; shares may be left out."""

from __future__ import annotations

import msgpack
import pytest

from api.rest.candidates import Wanted, from_bytes
from api.rest.engine import Engine
from api.rest.settings import Settings
from perfsage.graph import read_graph
from perfsage.graph.costs import graph_macs
from perfsage.predictor import Predictor, load_predictor
from tests.graph.costs_models import Op, Part, T, model_bytes


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return load_predictor()


def branching() -> bytes:
    """A matrix product, and an IF whose branches have two more, of which only one runs."""
    weights = T([8, 8], "INT8", data=True)
    product = {"table": "FullyConnectedOptions"}
    branch = Part([T([1, 8]), weights, T([1, 8])], [Op("FULLY_CONNECTED", [0, 1], [2], product)], [0], [2])
    tensors = [T([1], "BOOL"), T([1, 8]), weights, T([1, 8]), T([1, 8])]
    choose = Op("IF", [0, 3], [4], {"table": "IfOptions", "thenSubgraphIndex": 1, "elseSubgraphIndex": 2})
    main = Part(tensors, [Op("FULLY_CONNECTED", [1, 2], [3], product), choose], [0, 1], [4])
    return model_bytes([main, branch, branch])


def test_macs_of_branches_count_alike_in_process_and_in_the_service(shipped: Predictor) -> None:
    data = branching()
    engine = Engine(shipped, Settings(), lambda _: None)
    choice = engine.choice(["tflm"], (), operators=False, packed=True)
    wanted = Wanted([from_bytes(None, data)], [None], (), (), operators=False)
    [served] = msgpack.unpackb(engine.answer(wanted, choice).body)["predictions"]
    [here] = shipped.predict(data, ["tflm"]).predictions
    assert served["model"]["macs"] == here.model.macs == graph_macs(read_graph(data))[0] == 64


def test_shares_of_operators_can_be_left_out(shipped: Predictor) -> None:
    graph = read_graph(branching())
    full, short = shipped.predict(graph), shipped.predict(graph, operators=False)
    assert [p.metrics for p in short.predictions] == [p.metrics for p in full.predictions]
    assert not any(p.operators for p in short.predictions)
