"""A small predictor, trained once a session on keyword spotting networks that Vela and TFLM labelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dataset.spaces import get_space
from perfsage.device import Device
from perfsage.features import extract_features
from perfsage.graph import read_graph
from perfsage.measurement import Measurement
from perfsage.metrics import Metric
from perfsage.predictor import Predictor, load_predictor
from perfsage.training import Example, TrainingOptions, TrainingReport, train
from profilers.profiler import Model, Plan
from profilers.registry import describe, open_profiler
from profilers.workers import WorkerPool

DEVICE_NAMES = ("ethos-u55-128", "tflm")
FLOAT_EVERY = 8
GRAPHS = 64
torch.set_num_threads(1)  # more threads than free cores make small networks many times slower


def build(seed: int, dtype: str = "int8") -> bytes:
    return get_space("kws").build(seed, dtype).data


def headline(device: Device, measurements: tuple[Measurement, ...]) -> tuple[dict, dict]:
    labels, unavailable = {}, {}
    for measurement in measurements:
        if measurement.operator is None and device.metrics.get(measurement.metric) == measurement.definition:
            if measurement.value is not None:
                labels[device.name, measurement.metric] = measurement.value
            else:
                unavailable[device.name, measurement.metric] = measurement.unavailable
    return labels, unavailable


@pytest.fixture(scope="session")
def networks() -> list[Model]:
    made = []
    for seed in range(GRAPHS):
        data = build(seed, "float32" if seed % FLOAT_EVERY == 0 else "int8")
        made.append(Model(data, read_graph(data)))
    return made


@pytest.fixture(scope="session")
def devices() -> list[Device]:
    return [describe(name) for name in DEVICE_NAMES]


@pytest.fixture(scope="session")
def examples(networks: list[Model], devices: list[Device]) -> list[Example]:
    labels: list[dict[tuple[str, Metric], float]] = [{} for _ in networks]
    unavailable: list[dict[tuple[str, Metric], str]] = [{} for _ in networks]
    with WorkerPool(1) as pool:
        for device in devices:
            profiler = open_profiler(device.name, pool=pool)
            for index, outcome in enumerate(profiler.profile(networks, Plan())):
                found, missing = headline(device, outcome.measurements)
                labels[index] |= found
                unavailable[index] |= missing
            profiler.close()
    return [
        Example(
            features=extract_features(network.graph),
            labels=label,
            unavailable=missing,
            space="kws",
            family=f"family {index % 3}",
        )
        for index, (network, label, missing) in enumerate(zip(networks, labels, unavailable, strict=True))
    ]


@pytest.fixture(scope="session")
def trained(
    examples: list[Example], devices: list[Device], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrainingReport]:
    folder: Path = tmp_path_factory.mktemp("predictor") / "small"
    options = TrainingOptions(
        name="small", epochs=30, batch_graphs=8, width=32, layers=2, calibration_share=0.2, test_share=0.2
    )
    yield train(examples, devices, folder, options)


@pytest.fixture(scope="session")
def predictor(trained: TrainingReport) -> Predictor:
    return load_predictor(trained.output_dir)
