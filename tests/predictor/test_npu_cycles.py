"""The estimate of NPU latency beside what Vela itself says of each operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.features.npu.geometry import GEOMETRIES, geometry_of
from perfsage.graph import read_graph
from profilers.npu.configuration import configuration_names, parse_configuration
from tests.predictor.npu import operator_cycles

SEEDS = (1, 5, 11)


def _pairs(device: str, space: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return operator types, Vela's cycles, and ours, for operators that have both."""
    return _of_model(device, get_space(space).build(seed, "int8").data)


def _of_model(device: str, data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the same for a model: ours are the most of cycles and of what memories take."""
    types, ours, theirs = operator_cycles(device, data)
    rows = [row for row in range(len(types)) if theirs.get(row, 0) > 0 and ours[row] > 0]
    return types[rows], np.array([theirs[row] for row in rows], dtype=float), ours[rows]


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u55-256"])
def test_elementwise_operators_equal_velas_cycles(device: str) -> None:
    types, theirs, ours = _pairs(device, "classification", 2)
    chosen = types == "ADD"
    assert chosen.any()
    assert np.median(np.abs(ours[chosen] / theirs[chosen] - 1)) < 0.01


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u55-128", "ethos-u55-256", "ethos-u85-256"])
def test_most_convolutions_take_as_long_as_vela_says(device: str) -> None:
    errors = []
    for seed in SEEDS:
        types, theirs, ours = _pairs(device, "kws", seed)
        kinds = np.isin(types, ["CONV_2D", "DEPTHWISE_CONV_2D"])
        errors.append(np.abs(ours[kinds] / theirs[kinds] - 1))
    together = np.concatenate(errors)
    assert np.median(together) < 0.02
    assert np.mean(together < 0.05) > 0.7


def _made(build: Any, shape: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    return b.finish()


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
def test_an_operator_waits_for_weights_that_are_copied(device: str) -> None:
    data = _made(lambda b, x: b.conv(b.conv(x, 32), 256, kernel=3), (1, 16, 16, 32))
    _, theirs, ours = _of_model(device, data)
    assert ours == pytest.approx(theirs, rel=0.01)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize("size", [(80, 24), (96, 96)])
def test_means_of_large_images_take_as_long_as_vela_says(device: str, size: tuple[int, int]) -> None:
    data = _made(lambda b, x: b.mean(b.conv(x, 32)), (1, *size, 16))
    types, theirs, ours = _of_model(device, data)
    assert ours[types == "MEAN"] == pytest.approx(theirs[types == "MEAN"], rel=0.01)


def test_padded_strides_beyond_what_u85_can_do_are_split_by_the_kernel() -> None:
    data = _made(lambda b, x: b.conv(b.conv(x, 32, kernel=7, stride=4), 8), (1, 64, 64, 3))
    _, theirs, ours = _of_model("ethos-u85-256", data)
    assert ours == pytest.approx(theirs, rel=0.5)


def test_every_configuration_has_its_geometry() -> None:
    found = [geometry_of(parse_configuration(name).descriptors()) for name in configuration_names()]
    assert sorted(place for place in found if place is not None) == list(range(len(GEOMETRIES)))
    assert geometry_of({"generation": 55.0, "macs_per_cycle": 100.0}) is None


def test_what_is_remembered_changes_nothing() -> None:
    graph = read_graph(get_space("classification").build(4, "int8").data)
    first, second = extract_features(graph), extract_features(graph)
    assert np.array_equal(first.physical, second.physical)


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u65-512", "ethos-u85-128", "ethos-u85-2048"])
def test_a_function_waits_for_its_table_as_long_as_nothing_runs_before(device: str) -> None:
    b = Builder(dtype="int8", seed=3)
    b.output(b.tanh(b.hard_swish(b.input((1, 16, 16, 32)))))
    _, ours, theirs = operator_cycles(device, b.finish())
    assert ours == pytest.approx([theirs[0], theirs[1]], abs=1)
