"""The predictor that ships with the package."""

from __future__ import annotations

import math

import pytest

from perfsage import Interval, Metric, Predictor, load_predictor
from perfsage.graph import read_graph
from perfsage.predictor import PRETRAINED, pretrained_names
from perfsage.training.card import CARD_NAME, card_text
from profilers.npu.configuration import configuration_names
from profilers.profiler import Model, Plan
from profilers.registry import open_profiler
from tests.predictor.conftest import build

LIMIT_BYTES = 3 << 20


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return load_predictor()


def test_it_is_small_and_brings_its_card(shipped: Predictor) -> None:
    assert pretrained_names() == ["default"]
    files = list((PRETRAINED / "default").iterdir())
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES
    card = (PRETRAINED / "default" / CARD_NAME).read_text(encoding="utf-8")
    assert card.startswith(card_text(shipped.manifest))
    assert "Apache-2.0" in card


def test_it_knows_every_npu_and_tflm(shipped: Predictor) -> None:
    assert {device.name for device in shipped.devices} >= {*configuration_names(), "tflm"}


def test_it_agrees_with_vela_on_a_network_it_never_saw(shipped: Predictor) -> None:
    data = build(1_000_003)
    prediction = shipped.predict(data, ["ethos-u55-128"]).predictions[0]
    profiler = open_profiler("ethos-u55-128")
    [outcome] = profiler.profile([Model(data, read_graph(data))], Plan())
    profiler.close()
    for measurement in outcome.measurements:
        predicted = prediction.metrics[measurement.metric]
        assert isinstance(predicted, Interval) and measurement.value is not None
        assert abs(math.log(predicted.value / measurement.value)) < math.log(1.5), measurement.metric


def test_tflm_is_exact(shipped: Predictor) -> None:
    data = build(1_000_004)
    [prediction] = shipped.predict(data, ["tflm"]).predictions
    storage = prediction.metrics[Metric.STORAGE_BYTES]
    assert isinstance(storage, Interval) and storage.value == len(data)
