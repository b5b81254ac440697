"""The predictor that ships with the package."""

from __future__ import annotations

import math

import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from dataset.spaces.known import known_space
from perfsage import Interval, Metric, Predictor, Unavailable, load_predictor
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
    assert pretrained_names() == ["default", "phones"]
    files = list((PRETRAINED / "default").iterdir())
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES
    card = (PRETRAINED / "default" / CARD_NAME).read_text(encoding="utf-8")
    assert card.startswith(card_text(shipped.manifest))
    assert "Apache-2.0" in card


def test_it_knows_every_npu_and_tflm(shipped: Predictor) -> None:
    assert {device.name for device in shipped.devices} >= {*configuration_names(), "tflm"}


def test_many_networks_in_one_call_are_answered_as_each_alone(shipped: Predictor) -> None:
    """With two threads, ONNX Runtime loses parts of the sums of calls as large as this."""
    spaces = [get_space(name) for name in ("classification", "detection")]
    files = [space.build(seed, "int8").data for space in spaces for seed in range(32)]
    together = shipped.predict(files, ["ethos-u55-256"]).predictions
    for data, prediction in zip(files, together, strict=True):
        alone = shipped.predict(data, ["ethos-u55-256"]).predictions[0]
        for metric, answer in prediction.metrics.items():
            expected = alone.metrics[metric]
            assert isinstance(answer, Interval) and isinstance(expected, Interval)
            assert answer.value == pytest.approx(expected.value, rel=1e-4)


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


def test_a_network_that_an_npu_leaves_to_the_cpu_has_no_figure_for_it(shipped: Predictor) -> None:
    b = Builder(dtype="int8", seed=1)
    b.output(b.depth_to_space(b.input((1, 8, 8, 16)), 2))
    npu, mcu = shipped.predict(b.finish(), ["ethos-u55-128", "tflm"]).predictions
    latency = npu.metrics[Metric.LATENCY_MS]
    assert isinstance(latency, Unavailable) and "left to the CPU" in latency.reason
    assert isinstance(mcu.metrics[Metric.PEAK_MEMORY_BYTES], Interval)


def test_convolutions_alone_are_predicted_like_networks(shipped: Predictor) -> None:
    """A chain of equal convolutions is unlike any network, and the compiler's formulas hold all the same."""
    profiler = open_profiler("ethos-u65-512")
    for length in (1, 4):
        b = Builder(dtype="int8", seed=1)
        x = b.input((1, 56, 56, 32))
        for _ in range(length):
            x = b.conv(x, 32, kernel=3)
        b.output(x)
        data = b.finish()
        [outcome] = profiler.profile([Model(data, read_graph(data))], Plan())
        [actual] = [m.value for m in outcome.measurements if m.metric is Metric.LATENCY_MS]
        [prediction] = shipped.predict(data, ["ethos-u65-512"]).predictions
        predicted = prediction.metrics[Metric.LATENCY_MS]
        assert isinstance(predicted, Interval) and actual is not None
        assert predicted.value == pytest.approx(actual, rel=0.2)
    profiler.close()


def test_phones_are_beside_what_default_knows(shipped: Predictor) -> None:
    phones = load_predictor("phones")
    assert (phones.folder / "model.onnx").read_bytes() == (shipped.folder / "model.onnx").read_bytes()
    added = phones.devices[len(shipped.devices) :]
    assert {device.name for device in shipped.devices} < {device.name for device in phones.devices}
    card = (phones.folder / CARD_NAME).read_text(encoding="utf-8")
    assert all(f"| {device.name} |" in card and "(MIT)" in device.source for device in added)


def test_a_phone_knows_networks_like_those_measured_and_doubts_others() -> None:
    phones = load_predictor("phones")
    like = known_space("fbnet").build(7, "float32").data
    [known] = phones.predict(like, ["help-pixel3"]).predictions
    assert known.in_distribution and isinstance(known.metrics[Metric.LATENCY_MS], Interval)
    [other] = phones.predict(build(1_000_005), ["help-pixel3"]).predictions
    latency = other.metrics[Metric.LATENCY_MS]
    assert not other.in_distribution and isinstance(latency, Interval) and latency.high > 3 * latency.value
