"""What a CPU makes of operators: tiles, windows, and what it computes one value at a time."""

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
    rows = 100 + 2 * 15
    assert found.tolist() == [rows * 32 * 9 * 8 + 54 * 100 * 32 + 54 * 100 * 9, 0, 0, 0, 0]


def test_floats_are_not_packed_in_depth() -> None:
    assert costs(network(dtype="float32"))["CONV_2D"][0] == 130 * 32 * 9 * 5 + 54 * 100 * 32 + 54 * 100 * 9


@pytest.mark.parametrize(("kernel", "steps"), [(1, 9), (3, 9), (4, 25), (5, 25)])
def test_windows_are_those_of_two_kernels(kernel: int, steps: int) -> None:
    found = costs(network(kernel=kernel))["DEPTHWISE_CONV_2D"]
    assert found.tolist() == [0, 100 * 32 * steps, 0, 0, 0]


def test_large_windows_are_computed_one_value_at_a_time() -> None:
    assert costs(network(kernel=7))["DEPTHWISE_CONV_2D"].tolist() == [0, 0, 100 * 20 * 49, 0, 0]


def test_what_has_no_vector_kernel() -> None:
    found = costs(network())
    assert found["HARD_SWISH"].tolist() == [0, 0, 0, 2000, 0]
    assert found["TRANSPOSE"].tolist() == [0, 0, 0, 0, 4 * 2000]
    assert found["SOFTMAX"][3] == pytest.approx(0.65 * 25 * 10)
    assert found["AVERAGE_POOL_2D"][2] > 0 and not found["AVERAGE_POOL_2D"][[0, 1, 3, 4]].any()


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
    rates[len(COMMON_TERMS) : len(FITTED_TERMS)] = [1e-9, 2e-8, 3e-7, 3e-6, 2e-7]
    values = totals @ rates
    errors = totals @ fit_rates(totals, values) / values - 1.0
    without = totals.copy()
    without[:, len(COMMON_TERMS) :] = 0.0
    worse = without @ fit_rates(without, values) / values - 1.0
    assert np.abs(errors).mean() < 0.01 < 0.05 < np.abs(worse).mean()
