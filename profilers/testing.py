"""What every profiler must show, as tests to subclass; for profilers of other packages too.

    class TestMyBoard(ProfilerConformance):
        @classmethod
        def open(cls):
            return open_my_board()

        @classmethod
        def make_models(cls):
            return [...]  # two or more quantized models that the device runs

Needs pytest.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest

from perfsage.device import Device
from perfsage.measurement import Measurement
from perfsage.metrics import Metric
from profilers.profiler import Model, Outcome, Plan, Profiler


class ProfilerConformance:
    """Tests of the Profiler protocol. Subclasses give `open` and `make_models`.

    Override `make_float_model` with a float32 model where there is one, `plan` to measure faster, and
    `exact_metrics` with the metrics whose values never differ between two runs.
    """

    exact_metrics: frozenset[Metric] = frozenset()
    hostile_sizes: Sequence[float] = (0.0, 0.01, 0.5, 0.95)
    """How much of a good model's bytes the hostile models keep."""
    plan: Plan = Plan()

    profiler: Profiler
    models: list[Model]
    outcomes: list[Outcome]

    @classmethod
    def open(cls) -> Profiler:
        """Return a new profiler of the kind under test."""
        raise NotImplementedError

    @classmethod
    def make_models(cls) -> list[Model]:
        """Return two or more quantized models that the device runs."""
        raise NotImplementedError

    @classmethod
    def make_float_model(cls) -> Model | None:
        """Return a float32 model, or None to leave that test out."""
        return None

    @classmethod
    def setup_class(cls) -> None:
        """Open the profiler and measure all models once."""
        cls.models = cls.make_models()
        cls.profiler = cls.open()
        cls.outcomes = list(cls.profiler.profile(cls.models, cls.plan))

    @classmethod
    def teardown_class(cls) -> None:
        """Close the profiler; closing it twice is harmless."""
        cls.profiler.close()
        cls.profiler.close()

    def test_is_a_profiler(self) -> None:
        """It has the protocol's methods."""
        assert isinstance(self.profiler, Profiler)

    def test_describes_itself(self) -> None:
        """`describe` explains every metric, the same each time, with finite descriptors."""
        device = self.profiler.describe()
        assert device == self.profiler.describe()
        assert device.name and device.kind and device.tool and device.tool_version
        assert set(device.metrics) | set(device.unavailable) == set(Metric)
        assert not set(device.metrics) & set(device.unavailable)
        assert all(device.metrics.values()) and all(device.unavailable.values())
        assert all(math.isfinite(value) for value in device.descriptors.values())

    def test_one_outcome_a_model_in_order(self) -> None:
        """Outcomes come in the order of models."""
        given = [model.graph.model_id for model in self.models]
        assert [outcome.model.graph.model_id for outcome in self.outcomes] == given

    def test_no_models(self) -> None:
        """Nothing in, nothing out."""
        assert list(self.profiler.profile([], self.plan)) == []

    def test_every_metric_has_one_headline(self) -> None:
        """Each metric of the device has one figure or one reason, by the device's definition."""
        for outcome in self.outcomes:
            _check_headlines(self.profiler.describe(), outcome)
            assert outcome.failure is None

    def test_measures(self) -> None:
        """Models that the device runs have values."""
        for outcome in self.outcomes:
            assert any(m.value is not None and m.value > 0 for m in outcome.measurements)

    def test_measurements_are_complete(self) -> None:
        """Each measurement names its model, device and tool, and its samples are finite."""
        device = self.profiler.describe()
        for outcome in self.outcomes:
            for measurement in outcome.measurements:
                _check_measurement(device, outcome, measurement)

    def test_operators_exist(self) -> None:
        """Figures of single operators name operators of the model, each metric once."""
        wanted = dataclasses.replace(self.plan, per_operator=True)
        (outcome,) = self.profiler.profile(self.models[:1], wanted)
        seen = [(m.metric, m.definition, m.operator) for m in outcome.measurements if m.operator]
        assert len(seen) == len(set(seen))
        for _, _, operator in seen:
            assert operator is not None
            assert operator.index < len(self.models[0].graph.subgraphs[operator.subgraph].operators)

    def test_exact_metrics_repeat(self) -> None:
        """Exact metrics give the same value again."""
        for before, after in zip(self.outcomes, self.profiler.profile(self.models, self.plan), strict=True):
            assert _exact(before, self.exact_metrics) == _exact(after, self.exact_metrics)

    def test_float_model(self) -> None:
        """A float model is measured, or unavailable with a reason; never a zero latency."""
        float_model = self.make_float_model()
        if float_model is None:
            pytest.skip("no float model is given")
        (outcome,) = self.profiler.profile([float_model], self.plan)
        _check_headlines(self.profiler.describe(), outcome)
        for measurement in outcome.measurements:
            if measurement.metric is Metric.LATENCY_MS and measurement.operator is None:
                assert measurement.value is None or measurement.value > 0

    @pytest.mark.parametrize("position", [0, 1])
    def test_a_hostile_model_costs_one_model(self, position: int) -> None:
        """Truncated files give outcomes with reasons, and their neighbours are measured."""
        for size in self.hostile_sizes:
            batch = list(self.models[:2])
            batch.insert(position, _truncated(self.models[0], size))
            outcomes = list(self.profiler.profile(batch, self.plan))
            assert len(outcomes) == 3
            for index, outcome in enumerate(outcomes):
                _check_headlines(self.profiler.describe(), outcome)
                if index != position:
                    assert outcome.failure is None

    def test_closing_an_unused_one_twice(self) -> None:
        """`close` is harmless when nothing was started, and twice."""
        profiler = self.open()
        profiler.close()
        profiler.close()


def _truncated(model: Model, share: float) -> Model:
    return dataclasses.replace(model, data=model.data[: int(share * len(model.data))])


def _check_headlines(device: Device, outcome: Outcome) -> None:
    for metric, definition in device.metrics.items():
        headlines = [
            m
            for m in outcome.measurements
            if m.metric is metric and m.definition == definition and m.operator is None
        ]
        assert len(headlines) == 1, f"{metric} has {len(headlines)} headline figures"
        if outcome.failure is not None:
            assert headlines[0].unavailable, f"{metric} has a value although the tool failed"


def _check_measurement(device: Device, outcome: Outcome, measurement: Measurement) -> None:
    graph = outcome.model.graph
    assert (measurement.model_id, measurement.graph_id) == (graph.model_id, graph.graph_id)
    assert measurement.device == device.name
    assert measurement.tool and measurement.tool_version and measurement.definition
    assert measurement.metric in device.metrics
    assert all(math.isfinite(sample) and sample >= 0 for sample in measurement.samples)
    assert all(isinstance(value, str | int | float | bool) for value in measurement.conditions.values())


def _exact(outcome: Outcome, metrics: frozenset[Metric]) -> list[tuple[str, str, float | None]]:
    return [(m.metric.value, m.definition, m.value) for m in outcome.measurements if m.metric in metrics]
