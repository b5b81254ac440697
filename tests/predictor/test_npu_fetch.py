"""What an NPU moves for each operator, beside what Vela's own tables say of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.features.npu.columns import LEAST_CYCLES
from perfsage.graph import read_graph
from profilers.npu.configuration import parse_configuration
from profilers.npu.tasks import _compile, _rows
from tests.predictor.npu import operator_cycles

_SRAM = ("SramFeatureMap_read", "SramFeatureMap_write", "SramWeights_read")


def _moved(data: bytes, device: str) -> dict[int, float]:
    """Return the bytes that Vela says each operator reads from and writes to SRAM, by its index."""
    tables: Any = _compile(parse_configuration(device), data, True).opt_database.tables
    source = {row["id"]: int(row["ext_key"]) for row in _rows(tables, "source")}
    detail = {row["id"]: row for row in _rows(tables, "perf_debug")}
    moved: dict[int, float] = {}
    for row in _rows(tables, "perf"):
        columns = detail.get(row["id"], {})
        names = [name for name in columns if name in _SRAM]
        total = sum(float(columns[name] or 0) for name in names)
        if row["source_id"] in source:
            index = source[row["source_id"]]
            moved[index] = moved.get(index, 0.0) + total
    return moved


@pytest.mark.parametrize(("space", "seed"), [("classification", 2), ("detection", 3)])
def test_moved_bytes_are_velas_for_most_convolutions_on_u55(space: str, seed: int) -> None:
    data = get_space(space).build(seed, "int8").data
    features, theirs = extract_features(read_graph(data)), _moved(data, "ethos-u55-128")
    ours = features.cost("near_u55_128")
    kinds = np.isin(features.type_names, ["CONV_2D", "DEPTHWISE_CONV_2D"])
    rows = [row for row in np.flatnonzero(kinds) if theirs.get(row, 0.0) > 0]
    errors = np.array([abs(ours[row] / theirs[row] - 1) for row in rows])
    assert len(errors) > 3
    assert np.mean(errors < 0.05) >= 0.6


def _head(width: int) -> tuple[Builder, Any]:
    builder = Builder(dtype="int8", seed=3)
    x = builder.input((1, 16, 16, 3))
    return builder, builder.conv(x, width, kernel=(3, 3))


def test_a_function_that_alone_reads_its_input_costs_nothing() -> None:
    builder, x = _head(16)
    builder.output(builder.hard_swish(x))
    features = extract_features(read_graph(builder.finish()))
    assert features.cost("cycles_u55_128")[1] == LEAST_CYCLES
    assert features.cost("near_u55_128")[1] == 0


def test_a_function_beside_another_reader_costs_cycles() -> None:
    builder, x = _head(16)
    builder.output(builder.mul(x, builder.logistic(x)))
    features = extract_features(read_graph(builder.finish()))
    assert features.cost("cycles_u55_128")[1] > LEAST_CYCLES


def test_only_parts_that_others_read_are_copied() -> None:
    builder, x = _head(16)
    y = builder.conv(x, 16, kernel=(1, 1))
    alone = builder.conv(y, 16, kernel=(1, 1))
    builder.output(builder.concat([y, alone]))
    features = extract_features(read_graph(builder.finish()))
    row = list(features.type_names).index("CONCATENATION")
    assert features.cost("cycles_u55_128")[row] > LEAST_CYCLES
    assert features.cost("near_u55_128")[row] > 0


def test_the_graphs_ends_are_moved_outside() -> None:
    builder, x = _head(16)
    builder.output(builder.conv(x, 8, kernel=(1, 1)))
    features = extract_features(read_graph(builder.finish()))
    assert (features.cost("far_u85_1024")[:2] > 3 * 16 * 16).all()
    assert features.cost("near_u85_1024")[0] > 0


def test_a_transpose_takes_what_enters_as_a_whole() -> None:
    builder = Builder(dtype="int8", seed=3)
    x = builder.transpose(builder.input((1, 3, 32, 24)), (0, 2, 3, 1))
    builder.output(builder.conv(x, 8, kernel=(3, 3)))
    features = extract_features(read_graph(builder.finish()))
    assert features.cost("far_u65_512")[0] == 3 * 32 * 24


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u55-128", "ethos-u65-512"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_swap_of_two_axes_is_read_and_written_once(device: str, inside: bool) -> None:
    b = Builder(dtype="int8", seed=3)
    x = b.input((1, 256, 2, 12))
    x = b.transpose(b.add(x, x) if inside else x, (0, 1, 3, 2))
    b.output(b.add(x, x) if inside else x)
    types, made, theirs = operator_cycles(device, b.finish())
    row = list(types).index("TRANSPOSE")
    assert made[row] == pytest.approx(theirs[row], abs=1.0)
