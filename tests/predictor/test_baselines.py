"""Every baseline learns something from Vela's labels, repeats itself, and stays positive."""

from __future__ import annotations

import numpy as np
import pytest

from perfsage.metrics import Metric
from perfsage.models.baselines import BASELINES, MeanBaseline, all_baselines
from perfsage.models.baselines_additive import KernelForestBaseline
from perfsage.training import Example

TARGET = ("ethos-u55-128", Metric.LATENCY_MS)


@pytest.fixture(scope="module")
def labelled(examples: list[Example]) -> tuple[list[Example], np.ndarray]:
    known = [example for example in examples if TARGET in example.labels]
    return known, np.array([example.labels[TARGET] for example in known])


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(predicted / truth - 1).mean())


@pytest.mark.parametrize("name", list(all_baselines()))
def test_each_baseline_fits_what_it_learned_from(
    name: str, labelled: tuple[list[Example], np.ndarray]
) -> None:
    known, values = labelled
    items = [example.features for example in known]
    baseline = all_baselines(epochs=6, seconds=4.0)[name]()
    baseline.fit(items, values)
    predicted = baseline.predict(items)
    assert predicted.shape == values.shape
    assert (predicted > 0).all()
    assert np.isfinite(predicted).all()
    mean = MeanBaseline()
    mean.fit(items, values)
    if name == "brp-nas":  # it learns absolute errors
        assert np.abs(predicted - values).mean() < np.abs(mean.predict(items) - values).mean()
    else:
        assert error(predicted, values) <= error(mean.predict(items), values) * 1.1


@pytest.mark.parametrize("name", ["ridge", "forests", "perfsage-2021"])
def test_each_baseline_says_the_same_again(name: str, labelled: tuple[list[Example], np.ndarray]) -> None:
    known, values = labelled
    items = [example.features for example in known]
    made = []
    for _ in range(2):
        baseline = all_baselines(epochs=1, seconds=60.0)[name]()
        baseline.fit(items[:20], values[:20])
        made.append(baseline.predict(items))
    assert np.array_equal(made[0], made[1])


def test_forests_sum_operators_where_these_have_values(labelled: tuple[list[Example], np.ndarray]) -> None:
    known, _ = labelled
    items = [example.features for example in known]
    operators = [1e-9 * item.cost("macs") + 1e-3 for item in items]
    values = np.array([one.sum() for one in operators])
    forests = KernelForestBaseline()
    forests.fit(items[:30], values[:30], operators[:30])
    assert error(forests.predict(items[30:]), values[30:]) < 0.3
    alone = forests.predict(items[:1])[0]
    assert forests.predict([items[0], items[1]])[0] == pytest.approx(alone)


def test_the_ridge_recovers_counts_of_operators(labelled: tuple[list[Example], np.ndarray]) -> None:
    known, _ = labelled
    items = [example.features for example in known]
    values = np.array([2.0 + 0.5 * item.operators for item in items])
    ridge = BASELINES["ridge"]()
    ridge.fit(items[:40], values[:40])
    assert error(ridge.predict(items[:40]), values[:40]) < 0.02
