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


def live(*layers: Layer) -> float:
    """Return the most that tensors take beyond input and output, in tensors of 10 x 10 x 20."""
    made = extract_features(network(*layers)).cost("heap_live_bytes").max() / 2000
    return float(made) - 2


def conv(b: Builder, x: Tensor) -> Tensor:
    return b.conv(x, 20, kernel=1)


def test_what_passes_between_operators_has_a_workspace_beside_input_and_output() -> None:
    assert live(conv) == 0
    assert live(conv, conv) == 1
    assert live(conv, conv, conv) == 2


def test_results_are_written_over_what_nobody_reads_again() -> None:
    assert live(conv, lambda b, x: b.tanh(x), conv) == 1
    assert live(conv, lambda b, x: b.add(x, conv(b, x)), conv) == 2
    assert live(conv, lambda b, x: b.mul(x, b.tanh(x)), conv) == 2
    assert live(conv, lambda b, x: b.mul(x, b.logistic(x)), conv) == 1


def test_a_convolution_pads_by_itself() -> None:
    def padded(b: Builder, x: Tensor) -> Tensor:
        return b.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    assert live(conv, padded, lambda b, x: b.depthwise(x, kernel=3, padding="valid"), conv) == 2
    assert live(conv, padded, lambda b, x: b.tanh(x), lambda b, x: b.max_pool(x, kernel=3, stride=1)) > 2


def test_what_is_left_to_litert_takes_its_tensors_from_the_arena() -> None:
    # The output is there all the time, and so is the input.
    assert live(conv, lambda b, x: b.hard_swish(x), conv) == 2
    assert live(conv, conv, lambda b, x: b.hard_swish(x), conv, conv) == 3


def test_a_network_counts_once_and_graphs_do_not_change_each_other() -> None:
    layers: list[Layer] = [lambda b, x: b.conv(x, 24, kernel=3), lambda b, x: b.hard_swish(x)]
    graphs = [network(*layers, side=side) for side in (8, 11, 14)]
    for alone, beside in zip(map(extract_features, graphs), extract_many(graphs), strict=True):
        assert not isinstance(beside, Exception)
        assert all(np.array_equal(alone.cost(name), beside.cost(name)) for name in HEAP_COLUMNS)
        assert alone.cost("heap_bytes")[0] > 103.5e3 and alone.cost("heap_bytes")[1] == 1500
