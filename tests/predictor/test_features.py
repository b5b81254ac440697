from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataset.builder import Builder
from perfsage.errors import InvalidInputError
from perfsage.features import (
    NODE_COLUMNS,
    PHYSICAL_COLUMNS,
    TYPE_COUNT,
    GraphFeatures,
    batch_features,
    extract_features,
    load_features,
    save_features,
    type_index,
)
from perfsage.features.arrays import AHEAD_COLUMNS
from perfsage.features.npu.chains import chains
from perfsage.features.npu.formats import makers
from perfsage.features.npu.fusing import fused
from perfsage.features.operands import Operands
from perfsage.features.types import BUILTIN_SLOTS
from perfsage.graph import read_graph
from perfsage.graph.costs import operator_costs
from perfsage.graph.memory_plan import plan_memory
from tests.predictor.conftest import build


@pytest.fixture(scope="module")
def residual() -> bytes:
    """x -> conv -> depthwise -> add(conv) -> mean -> fully connected."""
    b = Builder(dtype="int8", seed=3, sparsity=0.5)
    x = b.conv(b.input((1, 16, 8, 4)), 24, kernel=(5, 3), stride=2, activation="relu6")
    y = b.depthwise(x, kernel=3, padding="same")
    b.output(b.fully_connected(b.mean(b.add(x, y)), 10))
    return b.finish()


def column(features: GraphFeatures, name: str) -> np.ndarray:
    return features.node[:, NODE_COLUMNS.index(name)]


def test_columns_say_what_the_operators_are(residual: bytes) -> None:
    graph = read_graph(residual)
    features = extract_features(graph)
    costs = operator_costs(graph.subgraphs[0])
    assert features.node.shape == (5, len(NODE_COLUMNS))
    assert features.type_names.tolist()[:3] == ["CONV_2D", "DEPTHWISE_CONV_2D", "ADD"]
    assert features.cost("macs").tolist() == costs.macs.tolist()
    np.testing.assert_allclose(np.expm1(column(features, "macs")), costs.macs, rtol=1e-5)
    np.testing.assert_allclose(np.expm1(column(features, "kernel_h"))[:2], [5, 3], rtol=1e-5)
    np.testing.assert_allclose(np.expm1(column(features, "stride_w"))[:2], [2, 1], rtol=1e-5)
    np.testing.assert_allclose(np.expm1(column(features, "out_c"))[:3], 24, rtol=1e-5)
    assert column(features, "activation_relu6").tolist()[:2] == [1, 0]
    assert column(features, "result_bytes_per_element").tolist()[:3] == [1, 1, 1]
    assert not column(features, "result_float").any()
    assert 0.3 < column(features, "weight_sparsity")[0] < 0.7
    assert column(features, "waste_out_c_16")[0] == pytest.approx(np.log(32 / 24), rel=1e-5)


def test_edges_go_from_producer_to_consumer(residual: bytes) -> None:
    features = extract_features(read_graph(residual))
    pairs = sorted(zip(features.source.tolist(), features.target.tolist(), strict=True))
    assert pairs == [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4)]


def test_totals_are_exact(residual: bytes) -> None:
    graph = read_graph(residual)
    features = extract_features(graph)
    assert features.total("plan_peak_bytes") == plan_memory(graph).peak_bytes
    assert features.total("file_bytes") == len(residual)
    assert features.total("float_share") == 0


def test_float_networks_are_known_as_such() -> None:
    assert extract_features(read_graph(build(5, "float32"))).total("float_share") == 1


def test_without_weights_their_columns_say_unknown(residual: bytes) -> None:
    features = extract_features(read_graph(residual), weights=False)
    assert not column(features, "weight_known").any()


def test_features_are_finite_over_the_space() -> None:
    for seed in range(30):
        features = extract_features(read_graph(build(seed)))
        assert np.isfinite(features.node).all()
        assert np.isfinite(features.physical).all()
        least = [name not in AHEAD_COLUMNS for name in PHYSICAL_COLUMNS]
        assert (features.physical[:, least] >= 0).all()
        assert (features.target < features.operators).all()


def test_custom_and_later_operators_hash_into_buckets() -> None:
    assert type_index(3) == 3
    custom = type_index(32, "TFLite_Detection_PostProcess")
    assert BUILTIN_SLOTS <= custom < TYPE_COUNT
    assert custom == type_index(32, "TFLite_Detection_PostProcess") != type_index(32, "Other")
    assert BUILTIN_SLOTS <= type_index(999) < TYPE_COUNT


def test_npz_brings_back_what_was_saved(residual: bytes, tmp_path: Path) -> None:
    features = extract_features(read_graph(residual))
    save_features(features, tmp_path / "f.npz")
    loaded = load_features(tmp_path / "f.npz")
    assert loaded.graph_id == features.graph_id
    for name in ("type_index", "type_names", "node", "physical", "source", "target", "location", "totals"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(features, name))


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_damaged_files_are_refused(residual: bytes, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "f.npz"
    save_features(extract_features(read_graph(residual)), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_features(path)


def test_a_batch_keeps_graphs_apart(residual: bytes) -> None:
    items = [extract_features(read_graph(data)) for data in (residual, build(1), residual)]
    batch = batch_features(items)
    assert batch.offsets.tolist() == np.cumsum([0, *(item.operators for item in items)]).tolist()
    assert (batch.graph[batch.source] == batch.graph[batch.target]).all()
    last = batch.source >= batch.offsets[2]
    np.testing.assert_array_equal(batch.source[last] - batch.offsets[2], items[2].source)


def test_nobody_can_write_into_what_is_remembered_of_a_graph(residual: bytes) -> None:
    [subgraph] = read_graph(residual).subgraphs
    operands = Operands(subgraph)
    count = len(subgraph.operators)
    refused = np.zeros(count, dtype=np.bool_)
    found = chains(subgraph, operands, refused, np.arange(count))
    for array in (makers(subgraph, operands, refused), *fused(subgraph, operands, refused), found.root):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
