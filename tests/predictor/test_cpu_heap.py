"""What LiteRT keeps on the heap of a CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dataset.builder import Builder, Tensor
from perfsage.features import extract_features, extract_many
from perfsage.features.cpu import HEAP_COLUMNS
from perfsage.graph import Graph, read_graph

Layer = Callable[[Builder, Tensor], Tensor]


def network(*layers: Layer, side: int = 10, channels: int = 20) -> Graph:
    b = Builder(seed=2)
    x = b.input((1, side, side, channels))
    for layer in layers:
        x = layer(b, x)
    b.output(x)
    return read_graph(b.finish())


def kept(layer: Layer, side: int = 10) -> float:
    """Return what a second operator keeps beside its packed weights' biases, scales and channels."""
    return float(extract_features(network(lambda b, x: b.tanh(x), layer, side=side)).cost("heap_bytes")[1])


def test_weights_are_packed_and_windows_have_pointers() -> None:
    constant = 4500 + 12 * 20 + 8 * 32
    assert kept(lambda b, x: b.conv(x, 20, kernel=1)) == constant + 32 * 24
    assert kept(lambda b, x: b.conv(x, 20, kernel=3)) == constant + 32 * 24 * 9 + 8 * 105 * 9


@pytest.mark.parametrize(("stride", "dilation", "fresh"), [(1, 1, 1), (2, 1, 2), (1, 2, 3)])
def test_neighbours_share_columns_of_a_depthwise_window(stride: int, dilation: int, fresh: int) -> None:
    made = kept(lambda b, x: b.depthwise(x, kernel=3, stride=stride, dilation=dilation))
    side = 10 // stride
    pointers = side * (9 + (side - 1) * fresh * 3)
    assert made == 4500 + 12 * 20 + 8 * 32 + 32 * 9 + 8 * pointers


def test_operators_without_weights_keep_little() -> None:
    assert kept(lambda b, x: b.logistic(x)) == 2500
    assert kept(lambda b, x: b.hard_swish(x)) == 1500
    assert kept(lambda b, x: b.resize_bilinear(x, (20, 20))) == 2500 + 36 * 400


def test_a_network_counts_once_and_graphs_do_not_change_each_other() -> None:
    layers: list[Layer] = [lambda b, x: b.conv(x, 24, kernel=3), lambda b, x: b.hard_swish(x)]
    graphs = [network(*layers, side=side) for side in (8, 11, 14)]
    for alone, beside in zip(map(extract_features, graphs), extract_many(graphs), strict=True):
        assert not isinstance(beside, Exception)
        assert all(np.array_equal(alone.cost(name), beside.cost(name)) for name in HEAP_COLUMNS)
        assert alone.cost("heap_bytes")[0] > 103.5e3 and alone.cost("heap_bytes")[1] == 1500
