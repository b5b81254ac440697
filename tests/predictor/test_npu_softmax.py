"""The estimate of a softmax on NPUs beside what Vela itself says of the operators that it becomes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder
from perfsage.features import extract_features
from perfsage.features.npu.cycles import npu_costs
from perfsage.features.npu.deep_shapes import deep_shape
from perfsage.features.npu.geometry import GEOMETRIES, geometry_of
from perfsage.features.npu.lowering import work_of
from perfsage.features.npu.spills import Spills
from perfsage.features.npu.work import SPILL_BYTES
from perfsage.features.operands import Operands
from perfsage.graph import read_graph
from profilers.npu.configuration import configuration_names, parse_configuration
from profilers.npu.tasks import compile_model
from tests.predictor.npu import operator_cycles

SHAPES = (
    (1, 1001),
    (1, 3),
    (1, 5, 6, 17),
    (1, 300, 81),
    (5, 49, 49),
    (1, 20, 22, 6),
    (2, 9, 11, 13),
    (1, 1530, 4),
)


def _model(build: Any, shape: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    return b.finish()


def _softmax(b: Builder, x: Any) -> Any:
    return b.softmax(x)


def _error(device: str, data: bytes) -> float:
    """Return by how much of Vela's cycles ours are too many, for the only softmax."""
    types, cycles, theirs = operator_cycles(device, data)
    row = types.tolist().index("SOFTMAX")
    return float(cycles[row] / theirs[row] - 1)


@pytest.mark.parametrize("device", configuration_names())
def test_a_softmax_takes_as_long_as_its_operators(device: str) -> None:
    errors = [_error(device, _model(_softmax, shape)) for shape in SHAPES]
    assert geometry_of(parse_configuration(device).descriptors()) is not None
    assert np.abs(errors).max() < 0.03, dict(zip(SHAPES, errors, strict=True))


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-256", "ethos-u85-512"])
def test_a_softmax_within_a_graph_is_as_exact(device: str) -> None:
    data = _model(lambda b, x: b.softmax(b.fully_connected(x, 37)), (1, 64))
    assert abs(_error(device, data)) < 0.02


@pytest.mark.parametrize("device", ["ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"])
def test_what_does_not_fit_into_sram_is_read_from_dram(device: str) -> None:
    assert abs(_error(device, _model(_softmax, (1, 2400, 91)))) < 0.05


def test_least_prime_factors_become_channels() -> None:
    assert deep_shape(361.0) == (19.0, 1.0, 19.0)
    assert deep_shape(1917.0) == (71.0, 1.0, 27.0)
    assert deep_shape(600.0) == (5.0, 5.0, 24.0)
    assert np.isfinite(deep_shape(2.0**62)).all()


@pytest.mark.parametrize("side", [1.0, 65535.0, 2.0**20 - 3, 2.0**31])
def test_damaged_sizes_cost_neither_time_nor_finiteness(side: float) -> None:
    subgraph = read_graph(_model(_softmax, (1, 7, 5, 3))).subgraphs[0]
    operands = Operands(subgraph)
    shapes = operands.shapes(np.ones((1, 2)))
    for place in ((1, 4), (2, 5), (3, 6), (1, 2, 3, 4, 5, 6)):
        odd = shapes.copy()
        odd[:, place] = side
        work = work_of(
            subgraph,
            operands,
            odd,
            np.zeros((1, 2), dtype=np.bool_),
            Spills(np.zeros(operands.absent + 1, dtype=np.int64), *np.zeros((3, 1, len(SPILL_BYTES)))),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            costs = npu_costs(work)
        assert costs.shape[2] == len(GEOMETRIES)
        assert np.isfinite(costs).all()


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
@pytest.mark.parametrize("shape", [(1, 12), (5, 3), (17, 12), (16, 40), (1003, 3), (1000, 49)])
def test_softmax_needs_the_room_that_vela_says(device: str, shape: tuple[int, int]) -> None:
    b = Builder(dtype="int8", seed=3)
    b.output(b.softmax(b.input((1, *shape))))
    data = b.finish()
    live = "block_live_bytes" if "u55" in device else "chained_live_bytes"
    theirs = compile_model(data, {"device": device, "layers": False})["memories"]["sram"]["peak_bytes"]
    assert extract_features(read_graph(data)).cost(live).max() == theirs
