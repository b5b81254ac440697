"""What a CPU makes of operators: tiles, windows, elements, where it begins and what it fetches."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dataset.builder import Builder
from perfsage.features import extract_features, extract_many
from perfsage.features.cpu import CPU_COLUMNS
from perfsage.graph import Graph, read_graph
from perfsage.models.physics import COMMON_TERMS, FITTED_TERMS, TERMS, fit_rates, term_columns


def network(
    kernel: int = 3, channels: int = 20, depth: int = 5, dtype: str = "int8", side: int = 10
) -> Graph:
    """Two convolutions, one of them depthwise, and some operators that have no kernel for vectors."""
    b = Builder(dtype=dtype, seed=2)  # type: ignore[arg-type]
    x = b.conv(b.input((1, side, side, depth)), channels, kernel=3)
    x = b.transpose(b.hard_swish(b.depthwise(x, kernel=kernel)), (0, 2, 1, 3))
    b.output(b.softmax(b.fully_connected(b.average_pool(x), 10)))
    return read_graph(b.finish())


def costs(graph: Graph) -> dict[str, NDArray[np.float64]]:
    """Return CPU_COLUMNS of each type of operator."""
    features = extract_features(graph)
    columns = np.stack([features.cost(name) for name in CPU_COLUMNS], axis=1)
    return dict(zip(features.type_names.tolist(), columns, strict=True))


def test_convolutions_fill_tiles() -> None:
    found = costs(network())["CONV_2D"]
    tiles, begun = 15 * 2, 100 * 2
    shared = 5.37 * tiles + 0.0517 * begun * 9 + 1.62 * 15 + 13.7 * 2 + 20.8
    assert found[0] == pytest.approx(1.17 * tiles * 9 + 0.0572 * begun * 9 + shared)
    assert not found[1:3].any()


def test_floats_are_multiplied_one_by_one() -> None:
    whole, single = (costs(network(depth=8, dtype=dtype))["CONV_2D"][0] for dtype in ("int8", "float32"))
    assert single - whole == pytest.approx((1.17 * 30 + 0.0572 * 200) * 9 * (8 / 2 - 8 / 8))


@pytest.mark.parametrize(("kernel", "price"), [(1, 1.26), (3, 2.84), (4, 7.49), (5, 7.49)])
def test_windows_are_those_of_three_kernels(kernel: int, price: float) -> None:
    wide, narrow = (costs(network(kernel=kernel, channels=16 * n))["DEPTHWISE_CONV_2D"] for n in (6, 4))
    halves = {1: 0.606, 3: 0.525}.get(kernel, 0.0)
    assert wide[1] - narrow[1] == pytest.approx(100 * (2 * price + halves))
    assert wide[0] == 0


def test_large_windows_take_a_tile_for_each_channel() -> None:
    found = costs(network(kernel=7))["DEPTHWISE_CONV_2D"]
    assert (
        found[0] == pytest.approx(20 * (49 * (1.62 * 15 + 0.0547 * 100) + 0.963 * 100) + 219)
        and found[1] == 0
    )


def test_groups_of_one_channel_are_windows_and_others_tiles_of_their_own() -> None:
    def made(groups: int) -> NDArray[np.float64]:
        b = Builder(seed=2)
        b.output(b.conv(b.input((1, 10, 10, 32)), 32, kernel=3, groups=groups))
        return costs(read_graph(b.finish()))["CONV_2D"]

    assert made(32)[1] > 0 and made(32)[0] == 0
    assert made(8)[0] - made(4)[0] == pytest.approx(
        4 * (9 * (1.17 * 15 + 0.0572 * 100) + 100 * 9 * 0.0517 + 5.37 * 15 + 13.7)
    )


def test_a_transposed_convolution_goes_in_phases() -> None:
    b = Builder(seed=2)
    b.output(b.transpose_conv(b.input((1, 10, 10, 8)), 3, kernel=4, stride=2))
    found = costs(read_graph(b.finish()))["TRANSPOSE_CONV"][0]
    assert found == pytest.approx(400 * (4 * (0.423 + 0.194) + 7.38) + 50)


def test_what_xnnpack_refuses_is_computed_one_value_at_a_time() -> None:
    found = costs(network())
    assert found["HARD_SWISH"][2] == pytest.approx(24 + 2.87 * 2000)
    assert found["SOFTMAX"][2] == pytest.approx(61 + 1.79 * 250 + 1.88 * 25)
    assert found["AVERAGE_POOL_2D"][2] > 2.56 * 25 * 20


def test_an_inference_begins_once() -> None:
    graphs = [network(), network(kernel=7)]
    for features in extract_many(graphs):
        assert not isinstance(features, Exception)
        assert features.cost("begin_ns").tolist() == [370.0] + [0.0] * (features.operators - 1)


def test_many_results_of_single_channels_are_written_beyond_the_cache() -> None:
    few, many = (costs(network(kernel=7, side=side))["DEPTHWISE_CONV_2D"][0] for side in (112, 114))
    assert few < 20 * 112**2 * 50 * 0.35 and many - few > 1.33 * 20 * 114**2


def test_weights_beyond_the_cache_are_fetched() -> None:
    def fetched(layers: int) -> float:
        b = Builder(seed=2)
        x = b.input((1, 512))
        for _ in range(layers):
            x = b.fully_connected(x, 512)
        b.output(x)
        return float(extract_features(read_graph(b.finish())).cost("fetch_ns").sum())

    assert fetched(1) == 0.0 < fetched(3) < fetched(5)
    assert fetched(5) == pytest.approx(0.0033 * 5 * 512 * 512)


def test_graphs_do_not_change_each_other() -> None:
    graphs = [network(kernel, side=side) for kernel, side in [(3, 8), (7, 12), (5, 9)]]
    for alone, beside in zip(map(extract_features, graphs), extract_many(graphs), strict=True):
        assert not isinstance(beside, Exception)
        assert all(np.array_equal(alone.cost(name), beside.cost(name)) for name in CPU_COLUMNS)


def test_they_explain_what_common_terms_do_not() -> None:
    graphs = [
        network(k, c, d, side=s) for k in (3, 5, 7) for c in (8, 20, 33) for d in (3, 16) for s in (8, 13)
    ]
    totals = np.stack([term_columns(extract_features(graph).physical).sum(axis=0) for graph in graphs])
    rates = np.zeros(len(TERMS))
    rates[len(COMMON_TERMS) : len(FITTED_TERMS)] = [1e-6, 2e-6, 1e-6, 3e-6, 2e-6]
    values = totals @ rates
    errors = totals @ fit_rates(totals, values) / values - 1.0
    without = totals.copy()
    without[:, len(COMMON_TERMS) :] = 0.0
    worse = without @ fit_rates(without, values) / values - 1.0
    assert np.abs(errors).mean() < 0.01 < 0.05 < np.abs(worse).mean()
