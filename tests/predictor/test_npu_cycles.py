"""The estimate of NPU cycles beside what Vela itself says of each operator."""

from __future__ import annotations

import numpy as np
import pytest

from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.features.npu_columns import COMMAND_CYCLES
from perfsage.features.npu_geometry import GEOMETRIES, GEOMETRY_NAMES, geometry_of
from perfsage.graph import read_graph
from profilers.npu.configuration import configuration_names, parse_configuration
from profilers.npu.tasks import compile_model

SEEDS = (1, 5, 11)


def _pairs(device: str, space: str, seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return operator types, Vela's cycles, and the estimate, for operators that have both."""
    data = get_space(space).build(seed, "int8").data
    features = extract_features(read_graph(data))
    column = GEOMETRY_NAMES.index(device.removeprefix("ethos-").replace("-", "_"))
    ours = features.cost(f"cycles_{GEOMETRY_NAMES[column]}") - COMMAND_CYCLES
    theirs = {
        index: cycles
        for index, cycles, _ in compile_model(data, {"device": device, "layers": True})["layers"]
    }
    rows = [row for row in range(features.operators) if theirs.get(row, 0) > 0 and ours[row] > 0]
    return (
        [str(features.type_names[row]) for row in rows],
        np.array([theirs[row] for row in rows], dtype=float),
        ours[rows],
    )


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u55-256"])
def test_elementwise_operators_equal_velas_cycles(device: str) -> None:
    types, theirs, ours = _pairs(device, "classification", 2)
    chosen = np.array([name == "ADD" for name in types])
    assert chosen.any()
    assert np.median(np.abs(ours[chosen] / theirs[chosen] - 1)) < 0.01


@pytest.mark.parametrize(
    ("device", "most"),
    [("ethos-u55-32", 0.02), ("ethos-u55-128", 0.02), ("ethos-u55-256", 0.2), ("ethos-u85-256", 0.2)],
)
def test_convolutions_are_close_to_velas_cycles(device: str, most: float) -> None:
    errors = []
    for seed in SEEDS:
        types, theirs, ours = _pairs(device, "kws", seed)
        kinds = np.isin(types, ["CONV_2D", "DEPTHWISE_CONV_2D"])
        errors.append(np.abs(np.log(ours[kinds] / theirs[kinds])))
    assert np.median(np.concatenate(errors)) < most


def test_every_configuration_has_its_geometry() -> None:
    found = [geometry_of(parse_configuration(name).descriptors()) for name in configuration_names()]
    assert sorted(place for place in found if place is not None) == list(range(len(GEOMETRIES)))
    assert geometry_of({"generation": 55.0, "macs_per_cycle": 100.0}) is None


def test_what_is_remembered_changes_nothing() -> None:
    graph = read_graph(get_space("classification").build(4, "int8").data)
    first, second = extract_features(graph), extract_features(graph)
    assert np.array_equal(first.physical, second.physical)
