"""What sticks out of a dataset is reported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import samples

from dataset.quality import check_quality
from dataset.store import Store
from perfsage.measurement import Statistic


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Eighty networks whose latency follows their MACs, but for one; four were measured twice."""
    opened = Store.open(tmp_path / "a.db")
    opened.add_device(samples.DEVICE)
    generator = np.random.default_rng(1)
    networks, measurements = [], []
    for number in range(80):
        macs = int(1e6 * generator.uniform(1, 100))
        networks.append(dataclasses.replace(samples.network(number), macs=macs))
        value = macs * 1e-6 * generator.uniform(0.95, 1.05) * (20 if number == 33 else 1)
        visits = tuple(value * generator.uniform(1, 1.02, 5))
        sampled = {"statistic": Statistic.MIN, "samples": visits, "value": min(visits)}
        measurements.append(samples.measurement(number, **sampled))
        if number < 4:
            changed = sampled | {"value": min(visits) * 1.03, "conditions": {"again": True}}
            measurements.append(samples.measurement(number, **changed))
    networks[7] = dataclasses.replace(networks[7], graph_id=networks[8].graph_id)
    opened.add_outcomes(networks, measurements)
    return opened


def test_the_report_names_what_is_remarkable(store: Store) -> None:
    report = check_quality(store)
    assert (report.networks, report.duplicate_networks, report.values) == (80, 1, 84)
    [outlier] = report.outliers
    assert (outlier.seed, outlier.device, outlier.metric) == (33, "npu-a", "latency_ms")
    assert outlier.value / outlier.expected == pytest.approx(20, rel=0.2)
    [noise] = report.noise
    assert (noise.values, noise.noisy) == (84, 0)
    assert 0 < noise.median < noise.p95 < 0.02
    [again] = report.disagreements
    assert (again.repeated, again.exact) == (4, False)
    assert again.largest_spread == pytest.approx(0.03)
    assert report.to_dict()["outliers"][0]["seed"] == 33


def test_an_empty_dataset_has_nothing_remarkable(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty.db") as empty:
        report = check_quality(empty)
    assert (report.networks, report.outliers, report.noise) == (0, (), ())
