from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from perfsage.features import FeatureBatch, batch_features, extract_features
from perfsage.graph import read_graph
from perfsage.models.gnn import GraphNetwork, GraphTensors, NetworkOptions, index_neighbours
from perfsage.models.physics import (
    FITTED_TERMS,
    TERMS,
    concurrent_terms,
    fit_rates,
    memory_limit_bytes,
    memory_rates,
    storage_rates,
    term_columns,
    unit_rates,
)
from perfsage.models.readout import CORRECTION_LIMIT, READOUTS, DeviceTable, Outputs, read_out
from perfsage.models.session import NetworkSession
from perfsage.training.corpus import to_tensors
from perfsage.training.export import export_onnx
from perfsage.training.neighbours import dgl_neighbours
from profilers.registry import describe
from tests.predictor.conftest import build

DEVICES = 3


@pytest.fixture(scope="module")
def batch() -> FeatureBatch:
    return batch_features([extract_features(read_graph(build(seed))) for seed in range(6)])


@pytest.fixture(scope="module")
def inputs(batch: FeatureBatch) -> GraphTensors:
    return to_tensors(batch, term_columns(batch.physical).astype(np.float32), torch.device("cpu"))


@pytest.fixture(scope="module")
def network(batch: FeatureBatch) -> GraphNetwork:
    torch.manual_seed(1)
    network = GraphNetwork(
        NetworkOptions(node_columns=batch.node.shape[1], descriptor_columns=4, devices=DEVICES, width=24)
    )
    with torch.no_grad():
        network.devices.descriptors.normal_()
        network.devices.log_rates.normal_().sub_(8)
        network.devices.embedding.normal_(std=0.3)
    return network.eval()


@pytest.fixture(scope="module")
def outputs(network: GraphNetwork, inputs: GraphTensors) -> Outputs:
    with torch.no_grad():
        return network(inputs, dgl_neighbours(inputs))


@pytest.fixture(scope="module")
def session(network: GraphNetwork, tmp_path_factory: pytest.TempPathFactory) -> NetworkSession:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(network, path)
    return NetworkSession(path)


def test_index_aggregation_equals_dgl(inputs: GraphTensors) -> None:
    hidden = torch.randn(len(inputs.type_index), 8)
    ours = index_neighbours(inputs.source, inputs.target, len(hidden))(hidden)
    for mine, theirs in zip(ours, dgl_neighbours(inputs)(hidden), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


def test_onnx_equals_torch_with_dgl(session: NetworkSession, batch: FeatureBatch, outputs: Outputs) -> None:
    raw = session.run(batch)
    np.testing.assert_allclose(raw.log_values, outputs.log_values.numpy(), atol=1e-5)
    np.testing.assert_allclose(raw.log_spread, outputs.log_spread.numpy(), atol=1e-5)
    np.testing.assert_allclose(raw.operator_latency, outputs.operator_latency.numpy(), rtol=1e-4)
    np.testing.assert_allclose(raw.pooled, outputs.pooled.numpy(), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 700])
def test_onnx_takes_any_number_of_operators_and_edges(
    session: NetworkSession, batch: FeatureBatch, rows: int
) -> None:
    pick = np.arange(rows) % len(batch.type_index)
    chain = np.arange(rows - 1, dtype=np.int64)
    raw = session.run(
        FeatureBatch(
            type_index=batch.type_index[pick],
            node=batch.node[pick],
            physical=batch.physical[pick],
            source=chain,
            target=chain + 1,
            graph=np.zeros(rows, dtype=np.int64),
            totals=batch.totals[:1],
            offsets=np.array([0, rows]),
        )
    )
    assert raw.log_values.shape == (1, DEVICES, 4)
    assert np.isfinite(raw.log_values).all()


def test_operators_add_up_to_the_latency(outputs: Outputs, inputs: GraphTensors) -> None:
    sums = torch.zeros(6, DEVICES).index_add(0, inputs.graph, outputs.operator_latency)
    torch.testing.assert_close(sums.log(), outputs.log_values[:, :, 0], rtol=0, atol=1e-4)


def test_graphs_do_not_influence_each_other(session: NetworkSession, batch: FeatureBatch) -> None:
    alone = session.run(batch_features([extract_features(read_graph(build(4)))]))
    together = session.run(batch)
    np.testing.assert_allclose(alone.log_values[0], together.log_values[4], atol=1e-5)


def test_a_device_without_its_embedding_relies_on_its_descriptors(network: GraphNetwork) -> None:
    table = network.devices(torch.tensor([1.0, 0.0, 1.0]))
    full = network.devices()
    assert torch.equal(table.vectors[0], full.vectors[0])
    assert not torch.equal(table.vectors[1], full.vectors[1])


def test_rates_are_found_again() -> None:
    rng = np.random.default_rng(0)
    totals = rng.uniform(1, 1e6, (200, len(TERMS)))
    rates = np.zeros(len(TERMS))
    rates[: len(FITTED_TERMS)] = [
        2e-8,
        1e-9,
        3e-8,
        2e-9,
        1e-8,
        5e-9,
        4e-8,
        7e-9,
        3e-9,
        5e-8,
        2e-8,
        8e-9,
        6e-9,
    ]
    np.testing.assert_allclose(fit_rates(totals, totals @ rates), rates, rtol=1e-3)


def test_every_common_rate_stays_positive_even_if_unused() -> None:
    totals = np.random.default_rng(0).uniform(1, 10, (50, len(TERMS)))
    assert ((fit_rates(totals, totals[:, 1]) > 0) == [name in FITTED_TERMS for name in TERMS]).all()
    stored = fit_rates(totals, totals[:, 6], stored=True)
    used = [name for name, rate in zip(TERMS, stored, strict=True) if rate > 0]
    assert used == ["operators", "coded_bytes", "channels"]


def test_an_accelerator_starts_from_its_own_cycles() -> None:
    descriptors = {"clock_hz": 5e8, "macs_per_cycle": 128.0, "generation": 55.0}
    own, other = unit_rates(descriptors), unit_rates({**descriptors, "generation": 1.0})
    assert own is not None and other is not None
    assert own[TERMS.index("cycles_u55_128")] == pytest.approx(1e3 / 5e8)
    assert own[TERMS.index("cycles_u55_256")] == 0 == other[TERMS.index("cycles_u55_128")]
    assert other[TERMS.index("macs")] == pytest.approx(1e3 / 5e8 / 256)


def _told_nothing(descriptors: Mapping[str, float], correction: float) -> DeviceTable:
    """One device that starts from its formulas, with the same small correction for every operator."""
    rates = [unit_rates(descriptors), unit_rates(descriptors), storage_rates(descriptors)]
    known = np.stack([*(rate for rate in rates if rate is not None), memory_rates(descriptors)])
    log_rates = torch.from_numpy(np.log(np.where(known > 0, known, 1e-30)).astype(np.float32))
    biases = torch.full((1, len(READOUTS)), correction)
    biases[:, READOUTS.index("persistent")] = -CORRECTION_LIMIT
    return DeviceTable(
        vectors=torch.zeros(1, len(READOUTS), 8),
        biases=biases,
        log_rates=log_rates[None],
        log_limits=torch.tensor([memory_limit_bytes(descriptors)]).log(),
        concurrent=torch.tensor([concurrent_terms(descriptors)]),
    )


@pytest.mark.parametrize("name", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
def test_what_is_not_corrected_equals_the_formulas(
    name: str, batch: FeatureBatch, inputs: GraphTensors
) -> None:
    descriptors = describe(name).descriptors
    table = _told_nothing(descriptors, 0.0)
    found = read_out(torch.zeros(len(inputs.type_index), 8), inputs, table, torch.nn.Linear(16, 4))
    terms = term_columns(batch.physical)
    rates = unit_rates(descriptors)
    assert rates is not None
    slowest = terms[:, 0] * rates[0] + (terms[:, 1:] * rates[1:]).max(axis=1)
    latency = np.add.reduceat(slowest, batch.offsets[:-1])
    np.testing.assert_allclose(found.log_values[:, 0, 0].exp(), latency, rtol=1e-5)
    live = np.minimum(terms @ memory_rates(descriptors), memory_limit_bytes(descriptors))
    peak = np.maximum.reduceat(live, batch.offsets[:-1])
    # A little is kept for good beside it, in which no correction is left out.
    np.testing.assert_allclose(found.log_values[:, 0, 2].exp(), peak, rtol=1e-3, atol=16)


def test_a_small_correction_is_next_to_none_and_a_large_one_stays(inputs: GraphTensors) -> None:
    descriptors = describe("ethos-u55-128").descriptors
    spread = torch.nn.Linear(16, 4)

    def latencies(correction: float) -> torch.Tensor:
        table = _told_nothing(descriptors, correction)
        return read_out(torch.zeros(len(inputs.type_index), 8), inputs, table, spread).log_values[:, 0, 0]

    none = latencies(0.0)
    assert float((latencies(0.001) - none).abs().max()) < 0.0002
    assert float((latencies(0.5) - none).min()) > 0.45
