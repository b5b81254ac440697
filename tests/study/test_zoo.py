"""Networks of the zoo have the MACs and parameters that were published, and real LiteRT runs them."""

from __future__ import annotations

from functools import cache

import pytest

from dataset.builder import Dtype
from dataset.zoo import build_network, get_network, network_names
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.graph import Graph, read_graph
from perfsage.graph.costs import graph_macs, graph_parameters

SMALL = [name for name in network_names() if name != "vgg-16"]
LOOSE_MACS = {
    # Its authors count normalizations and activations too.
    **{f"efficientnet-lite{size}": 0.06 for size in range(5)},
    # Published with one or two digits.
    "mobilenet-v1-0.25-128": 0.04,
    "ssd-mobilenet-v1": 0.04,
}
LOOSE_PARAMETERS = {"ssdlite-mobilenet-v2": 0.05}


@cache
def graph(name: str) -> Graph:
    return read_graph(build_network(name))


def check(name: str) -> None:
    network = get_network(name)
    macs, unknown = graph_macs(graph(name))
    assert not unknown
    if network.published_macs is not None:
        assert macs == pytest.approx(network.published_macs, rel=LOOSE_MACS.get(name, 0.02))
    if network.published_parameters is not None:
        expected = pytest.approx(network.published_parameters, rel=LOOSE_PARAMETERS.get(name, 0.02))
        assert graph_parameters(graph(name)) == expected


@pytest.mark.parametrize("name", SMALL)
def test_costs_are_those_that_were_published(name: str) -> None:
    check(name)


@pytest.mark.slow
def test_vgg_costs_what_was_published() -> None:
    check("vgg-16")


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(
    "name", ["mobilenet-v3-small", "shufflenet-v2", "squeezenet-1.1", "nasnet-mobile", "vit-tiny"]
)
def test_litert_runs_networks_of_every_kind(name: str, dtype: Dtype) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=build_network(name, dtype), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    [output] = interpreter.get_output_details()
    assert interpreter.get_tensor(output["index"]).shape == (1, 1000)


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith(("efficient", "inception"))])
def test_a_batch_multiplies_macs_and_leaves_parameters(name: str) -> None:
    batched = read_graph(build_network(name, batch=3))
    assert graph_macs(batched)[0] == 3 * graph_macs(graph(name))[0]
    assert graph_parameters(batched) == graph_parameters(graph(name))


def test_networks_are_always_the_same_bytes() -> None:
    assert build_network("mobilenet-v2") == build_network("mobilenet-v2")


def test_names_and_batches_that_do_not_exist() -> None:
    with pytest.raises(UnknownNameError, match="mobilenet-v2"):
        build_network("alexnet")
    with pytest.raises(InvalidInputError, match="batch of 0"):
        build_network("mobilenet-v2", batch=0)
