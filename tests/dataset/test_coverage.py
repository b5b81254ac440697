"""Sampled networks beside real ones: distances, histograms, and the command that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli.main import run
from dataset.builder import Builder
from dataset.coverage import Sampled, by_type
from dataset.spaces import get_space
from perfsage.graph import read_graph


def one_convolution(filters: int = 16, *, stride: int = 1, kernel: int = 3, groups: int = 1) -> bytes:
    builder = Builder(dtype="int8", seed=1)
    read = builder.input((1, 32, 32, 16))
    builder.output(builder.conv(read, filters, kernel=kernel, stride=stride, groups=groups))
    return builder.finish()


def sampled(*networks: bytes) -> Sampled:
    found = Sampled()
    for data in networks:
        found.add(read_graph(data))
    return found


@pytest.mark.parametrize(
    ("other", "distance"),
    [
        (one_convolution(), 0.0),
        (one_convolution(64), 2.0),
        (one_convolution(stride=2), 1.0),
        (one_convolution(kernel=6), 1.0),
        (one_convolution(groups=8), 3.0),
    ],
)
def test_the_distance_is_the_largest_difference_in_powers_of_two(other: bytes, distance: float) -> None:
    [operator] = sampled(one_convolution()).distances(read_graph(other))
    assert (operator.subgraph, operator.index, operator.type) == (0, 0, "CONV_2D")
    assert operator.distance == pytest.approx(distance)


def test_the_nearest_of_all_sampled_operators_counts() -> None:
    found = sampled(one_convolution(256), one_convolution(32), one_convolution(1024))
    [operator] = found.distances(read_graph(one_convolution(24)))
    assert operator.distance == pytest.approx(0.415, abs=1e-3)


def test_the_output_shape_of_a_transposed_convolution_is_no_data() -> None:
    def network(channels: int) -> bytes:
        builder = Builder(dtype="int8", seed=1)
        builder.output(builder.transpose_conv(builder.input((1, 8, 8, channels)), 4))
        return builder.finish()

    real = read_graph(network(8))
    [distance] = [o.distance for o in sampled(network(64)).distances(real) if o.type == "TRANSPOSE_CONV"]
    assert distance == pytest.approx(3.0)


def test_types_are_counted_on_both_sides() -> None:
    builder = Builder(dtype="int8", seed=1)
    builder.output(builder.softmax(builder.fully_connected(builder.input((1, 16)), 4)))
    found = sampled(one_convolution(), builder.finish())
    rows = {
        row.type: row for row in by_type([found.distances(read_graph(one_convolution(64)))], found.counts)
    }
    assert next(iter(rows)) == "CONV_2D"
    assert (rows["CONV_2D"].real, rows["CONV_2D"].sampled, rows["CONV_2D"].real_share) == (1, 1, 1.0)
    assert (rows["CONV_2D"].median_distance, rows["CONV_2D"].within_factor_two) == (2.0, 0.0)
    assert (rows["SOFTMAX"].real, rows["SOFTMAX"].sampled, rows["SOFTMAX"].median_distance) == (0, 1, None)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A network of the kws space, whose seed the commands below sample or leave out."""
    path = tmp_path / "real.tflite"
    path.write_bytes(get_space("kws").build(5, "int8").data)
    return path


def test_a_sampled_network_is_covered_by_itself(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "coverage", str(real), "--space", "kws", "--count", "2", "--seed", "4", "--json"]
    assert run(command) == 0
    report = json.loads(capsys.readouterr().out)
    [model] = report["models"]
    assert report["networks"] == 2
    assert {operator["distance"] for operator in model["operators"]} == {0.0}
    assert [operator["index"] for operator in model["operators"]] == list(range(len(model["operators"])))
    assert (model["never_sampled"], model["median_distance"]) == ([], 0.0)
    assert sum(row["real"] for row in report["types"]) == len(model["operators"])


def test_what_was_never_sampled_is_named(
    tmp_path: Path, real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = Builder(dtype="int8", seed=1)
    builder.output(builder.depth_to_space(builder.input((1, 8, 8, 4)), 2))
    (tmp_path / "other.tflite").write_bytes(builder.finish())
    paths = [str(real), str(tmp_path / "other.tflite")]
    assert run(["dataset", "coverage", *paths, "--space", "kws", "--count", "1", "--dtype", "int8"]) == 0
    out = capsys.readouterr().out
    assert "operators of 2 files and 1 sampled networks" in out
    assert "never sampled" in out
    assert "DEPTH_TO_SPACE" in out


@pytest.mark.parametrize(
    ("extra", "status", "message"),
    [
        (["--space", "moon"], 11, "no search space 'moon'"),
        (["--dtype", "int4"], 12, "'int4' is not a dtype"),
        (["--count", "0"], 12, "--count begins at 1"),
        (["--seed", "-1"], 12, "--seed at 0"),
        (["missing.tflite"], 12, "missing.tflite"),
    ],
)
def test_mistakes_are_named(
    real: Path, extra: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dataset", "coverage", str(real), *extra]) == status
    assert message in capsys.readouterr().err
