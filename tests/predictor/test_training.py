from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.features.npu.geometry import geometry_of
from perfsage.metrics import Metric
from perfsage.models.calibration import DOUBTED, Calibration, spreads
from perfsage.models.physics import FITTED_LIVE, TERMS, fit_memory
from perfsage.models.readout import READOUTS, Outputs
from perfsage.models.session import RawOutputs
from perfsage.predictor import load_predictor
from perfsage.training import (
    Example,
    Progress,
    TrainingOptions,
    TrainingReport,
    leave_out,
    loop,
    random_split,
    train,
)
from perfsage.training.calibrate import conformal_quantile, fewest_scores
from perfsage.training.corpus import Corpus
from perfsage.training.entries import describe_entries
from perfsage.training.evaluate import spearman
from perfsage.training.loop import fit
from perfsage.training.loss import MEASURED_LATENCY_WEIGHT, batch_loss, label_weights
from perfsage.training.setup import build_network
from profilers.npu.energy import load_energy_table
from profilers.registry import describe

TINY = TrainingOptions(
    epochs=4, batch_graphs=16, width=16, layers=1, checkpoint_every_s=0.0, accelerator="cpu"
)


def test_scores_beat_the_mean_and_cover_the_truth(trained: TrainingReport) -> None:
    by_target = {(score.device, score.metric): score for score in trained.scores}
    latency = by_target["ethos-u55-128", "latency_ms"]
    assert latency.n >= 5
    assert latency.mape < latency.baseline_mape["mean"]
    assert latency.spearman is not None and latency.spearman > 0.8
    assert 0.5 <= latency.coverage <= 1
    assert by_target["tflm", "storage_bytes"].mape == 0
    assert by_target["tflm", "peak_memory_bytes"].mape == 0


def test_a_float_network_on_an_npu_is_a_rule_learned_from_labels(
    examples: list[Example], devices: list[Device]
) -> None:
    npu, mcu = describe_entries(devices, examples)
    assert npu.float_reason is not None and "cannot run float operators" in npu.float_reason
    assert mcu.float_reason is None
    assert mcu.exact == {Metric.STORAGE_BYTES: "file_bytes", Metric.PEAK_MEMORY_BYTES: "arena_bytes"}
    assert Metric.LATENCY_MS not in mcu.labels


def test_an_interrupted_run_ends_as_if_it_had_not_been(
    examples: list[Example], devices: list[Device], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    corpus = Corpus(examples[:32], [device.name for device in devices])
    whole, _ = fit(corpus, devices, TINY)

    class Killed(Exception):
        pass

    def kill(progress: Progress) -> None:
        if progress.epoch == 3:
            raise Killed

    path = tmp_path / "checkpoint.npz"
    with pytest.raises(Killed):
        fit(corpus, devices, TINY, path, kill)
    resumed, epochs = fit(corpus, devices, TINY, path)
    assert epochs == 4
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_checkpoint_of_other_data_is_refused(
    examples: list[Example], devices: list[Device], tmp_path: Path
) -> None:
    names = [device.name for device in devices]
    path = tmp_path / "checkpoint.npz"
    fit(Corpus(examples[:16], names), devices, TINY, path)
    with pytest.raises(InvalidInputError, match="other data or settings"):
        fit(Corpus(examples[16:32], names), devices, TINY, path)
    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(InvalidInputError, match="does not fit"):
        fit(Corpus(examples[:16], names), devices, TINY, path)


def test_time_is_a_limit_too(examples: list[Example], devices: list[Device]) -> None:
    options = dataclasses.replace(TINY, epochs=100_000, time_limit_s=1.0)
    seen: list[Progress] = []
    fit(Corpus(examples[:16], ["tflm"]), devices[1:], options, None, seen.append)
    assert seen[-1].share == 1.0
    assert seen[-1].elapsed_s < 10
    assert seen[0].epoch == 1 and seen[0].learning_rate > 0


def test_too_little_data_is_said_plainly(
    examples: list[Example], devices: list[Device], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="too few graphs"):
        train(examples[:5], devices, tmp_path)
    unlabelled = [dataclasses.replace(example, labels={}) for example in examples]
    with pytest.raises(InvalidInputError, match="no graph has a label"):
        train(unlabelled, devices, tmp_path)
    with pytest.raises(InvalidInputError, match="no device"):
        train(examples, [], tmp_path)


def test_sixty_networks_get_intervals_and_ten_are_refused(
    examples: list[Example], devices: list[Device], tmp_path: Path
) -> None:
    few = [
        dataclasses.replace(example, labels={**example.labels, ("tflm", Metric.STORAGE_BYTES): 0.0})
        for example in examples[:60]
    ]
    report = train(few, devices, tmp_path, dataclasses.replace(TINY, epochs=1))
    assert report.graphs["calibration"] >= fewest_scores(TINY.level) == 9
    predictor = load_predictor(tmp_path)
    quantiles = predictor.calibration.quantiles
    assert np.isfinite(quantiles).all() and (quantiles > 0).all()
    with pytest.raises(InvalidInputError, match="90% intervals another 9"):
        train(examples[:12], devices, tmp_path / "other", TINY)


def test_a_random_split_is_stable_and_never_parts_a_group(examples: list[Example]) -> None:
    grouped = [dataclasses.replace(e, group=f"group {i // 4}") for i, e in enumerate(examples)]
    split = random_split(grouped, calibration=0.2, test=0.3)
    assert sorted(split.train + split.calibration + split.test) == list(range(len(grouped)))
    parts = [{grouped[i].group for i in part} for part in (split.train, split.calibration, split.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    fewer = random_split(grouped[:32], calibration=0.2, test=0.3)
    assert set(fewer.test) == {i for i in split.test if i < 32}


def test_leaving_out_a_family_takes_its_groups_along(examples: list[Example]) -> None:
    shared = examples[0].features.graph_id
    copies = [*examples, dataclasses.replace(examples[1], group=shared)]
    split = leave_out(copies, family="family 0")
    assert {copies[i].family for i in split.test} == {"family 0"}
    assert len(copies) - 1 not in split.train + split.calibration
    with pytest.raises(InvalidInputError, match="nothing on one side"):
        leave_out(examples, space="kws")


def test_conformal_quantiles_cover() -> None:
    rng = np.random.default_rng(0)
    scores = rng.laplace(size=(2000, 2)) ** 2
    limit = conformal_quantile(scores[:200, 0], 0.9)
    assert 0.85 < (scores[:, 1] <= limit).mean() < 0.96
    assert np.isnan(conformal_quantile(np.array([1.0] * 5), 0.9))


def test_intervals_widen_where_there_are_doubts_and_with_the_distance() -> None:
    one = np.ones((1, 4), dtype=np.float32)
    nothing = np.zeros((3, 1, 4), dtype=np.float32)
    pooled = np.array([[0.0], [0.0], [6.0]], dtype=np.float32)
    calibration = Calibration(
        level=0.9,
        quantiles=one,
        least=-one,
        centre=np.zeros(1, dtype=np.float32),
        whitening=np.ones((1, 1), dtype=np.float32),
        limit=2.0,
        type_seen=np.ones(1, dtype=np.bool_),
        largest=np.ones(1),
    )
    raw = RawOutputs(nothing, nothing, nothing[:, :, 0], pooled)
    widths = calibration.half_widths(raw, [(), ("an unseen operator",), ("far",)])
    assert widths[:, 0, 0].tolist() == [1.0, DOUBTED, 3.0 * DOUBTED]


def test_no_spread_counts_as_less_than_that_of_most() -> None:
    zero, spread = np.zeros((3, 1, 4), dtype=np.float32), np.log([1.0, 2.0, 8.0]).astype(np.float32)
    raw = RawOutputs(zero, zero + spread[:, None, None], zero[:, :, 0], zero[:, 0, :1])
    least = np.full((1, 4), np.log(4.0), dtype=np.float32)
    assert spreads(raw, least)[:, 0, 0] == pytest.approx([4.0, 4.0, 8.0])


def test_intervals_of_a_trained_predictor_have_a_floor(trained: TrainingReport) -> None:
    calibration = load_predictor(trained.output_dir).calibration
    assert np.isfinite(calibration.least).all()
    surest = np.full((1, *calibration.least.shape), -50.0, dtype=np.float32)
    raw = RawOutputs(surest, surest, surest[:, :, 0], calibration.centre[None])
    assert calibration.half_widths(raw, [()])[0] == pytest.approx(
        np.exp(calibration.least) * calibration.quantiles, nan_ok=True
    )


def test_spearman_where_it_is_defined() -> None:
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])) is None


def test_a_configuration_never_measured_is_inferred_from_its_relatives(
    examples: list[Example], devices: list[Device]
) -> None:
    unknown = describe("ethos-u55-256")
    known, _, inferred = describe_entries([*devices, unknown], examples)
    assert not known.inferred and inferred.inferred
    assert inferred.float_reason == known.float_reason
    network, _ = fit(Corpus(examples[:32], ["ethos-u55-128", "ethos-u55-256"]), [devices[0], unknown], TINY)
    assert not network.devices.embedding[1].any()
    rates = network.devices.log_rates[:, 0].exp()
    own, cousin = TERMS.index("cycles_u55_256"), TERMS.index("cycles_u55_128")
    assert rates[1, own] > 1e-9 > rates[1, cousin]
    assert rates[1, own].item() == pytest.approx(rates[0, cousin].item())


def test_the_prices_of_the_energy_table_are_found_in_the_labels(
    examples: list[Example], devices: list[Device]
) -> None:
    table = load_energy_table()
    for times in (1.0, 3.0):
        corpus = Corpus(examples, [device.name for device in devices])
        corpus.log_labels[:, :, 1] += math.log(times)
        rates = build_network(corpus, devices, TINY).devices.log_rates[0, 1].exp() * 1e9
        assert rates[TERMS.index("sram_u55_128")].item() == pytest.approx(
            times * table.bytes_pj["sram"], rel=0.03
        )
        assert rates[TERMS.index("spanned_macs_u55")].item() == pytest.approx(times * table.mac_pj, rel=0.1)


def test_a_memory_starts_from_what_explains_it_best() -> None:
    rng = np.random.default_rng(1)
    totals = rng.uniform(1e3, 1e5, (40, len(TERMS)))
    live = rng.uniform(1e4, 1e6, (40, len(FITTED_LIVE)))
    heap = totals[:, TERMS.index("heap_bytes")]
    for place, name in enumerate(FITTED_LIVE):
        rates = fit_memory(live, totals, live[:, place] + 2.0 * heap)
        assert rates[TERMS.index(name)] == pytest.approx(1.0, rel=0.01)
        assert rates[TERMS.index("heap_bytes")] == pytest.approx(2.0, rel=0.01)
        assert not rates[[TERMS.index(other) for other in FITTED_LIVE if other != name]].any()


def test_described_accelerators_look_at_one_trunk_and_others_at_the_other(
    examples: list[Example], devices: list[Device]
) -> None:
    described = [geometry_of(device.descriptors) is not None for device in devices]
    assert set(described) == {True, False}
    corpus = Corpus(examples[:16], [device.name for device in devices])
    network = build_network(corpus, devices, TINY)
    vectors = network.devices().vectors.detach()
    own, other = vectors[..., : TINY.described_width], vectors[..., TINY.described_width :]
    assert other.shape[-1] == TINY.width
    for row, first in enumerate(described):
        looked, unseen = (own, other) if first else (other, own)
        assert looked[row].any() and not unseen[row].any()


def test_corrections_that_change_no_prediction_are_held_at_the_formulas(
    examples: list[Example], devices: list[Device]
) -> None:
    corpus = Corpus(examples[:8], [device.name for device in devices])
    batch = corpus.batch(np.arange(8), torch.device("cpu"))
    values = torch.nan_to_num(batch.log_labels)
    rows, count = len(batch.inputs.type_index), len(devices)
    none = torch.zeros(rows, count)

    def loss(readout: int) -> float:
        corrections = torch.zeros(rows, count, len(READOUTS))
        corrections[..., readout] = 1.0
        outputs = Outputs(values, torch.zeros_like(values), none, torch.zeros(8, 2), corrections)
        return float(batch_loss(outputs, batch, torch.ones(count, 4), 0.0)[0])

    free = loss(READOUTS.index("persistent"))
    assert loss(READOUTS.index("storage")) == free
    assert all(loss(READOUTS.index(name)) > free for name in ("latency", "energy", "peak"))


def test_a_latency_weighs_more_where_no_formula_describes_it() -> None:
    weights = label_weights(torch.tensor([1.0, 0.0])).tolist()
    assert weights == [[1.0, 1.0, 1.0, 1.0], [MEASURED_LATENCY_WEIGHT, 1.0, 1.0, 1.0]]


def test_a_step_without_a_finite_gradient_is_left_out_and_an_epoch_of_them_is_said(
    examples: list[Example], devices: list[Device], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss is a test double: no label that is let in makes it infinite any more."""
    actual, calls = loop.batch_loss, iter(range(1000))
    bad = {0}

    def sometimes(*given: Any) -> tuple[torch.Tensor, float]:
        loss, shown = actual(*given)
        return loss * (math.inf if next(calls) in bad else 1.0), shown

    monkeypatch.setattr(loop, "batch_loss", sometimes)
    losses: list[float] = []
    train(examples[:60], devices, tmp_path, TINY, progress=lambda state: losses.append(state.loss))
    assert len(losses) == TINY.epochs and np.isfinite(losses).all()
    bad.update(range(1000))
    with pytest.raises(InvalidInputError, match="finite gradient"):
        train(examples[:60], devices, tmp_path / "other", TINY)
