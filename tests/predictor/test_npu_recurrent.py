"""LSTMs and reductions on an NPU, against the installed Vela."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.npu_formulas import ours, vela
from dataset.builder import Builder, Tensor
from perfsage.features import extract_features
from perfsage.graph import read_graph

DEVICES = ("ethos-u55-64", "ethos-u55-256", "ethos-u65-256", "ethos-u85-128", "ethos-u85-256")
WITH_DRAM = ("ethos-u65-512", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048")


def _data(build: Any, *shape: int) -> bytes:
    b = Builder(dtype="int8", seed=5)
    b.output(build(b, b.input(shape)))
    return b.finish()


def _ratios(device: str, data: bytes) -> list[float]:
    """Return by how much cycles, SRAM, flash and energy of the formulas differ from Vela's, as factors."""
    theirs = vela(device, data)
    assert theirs is not None
    mine = ours(device, extract_features(read_graph(data)))
    return [ours_ / its if its else np.nan for ours_, its in zip(mine, theirs, strict=True)]


@pytest.mark.parametrize("device", WITH_DRAM)
def test_small_lstms_are_planned_where_images_are(device: str) -> None:
    data = _data(lambda b, x: b.lstm(b.lstm(x, 16), 16), 1, 12, 13)
    assert _ratios(device, data)[0] == pytest.approx(1.0, rel=0.12)


def _reduced(b: Builder, x: Tensor, name: str, axes: Sequence[int]) -> Tensor:
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    out = b._like("reduced", x, shape)
    return b._record(name, (x, b._vector(*axes)), out, "ReducerOptions", versions=(2, 1), KeepDims=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("time", "features", "units"), [(7, 33, 44), (3, 90, 112)])
def test_an_lstm_is_done_once_for_each_step(device: str, time: int, features: int, units: int) -> None:
    data = _data(lambda b, x: b.lstm(x, units), 1, time, features)
    cycles, sram, flash, energy = _ratios(device, data)
    assert cycles == pytest.approx(1, abs=0.03)
    assert sram == pytest.approx(1, abs=0.1)
    assert flash == pytest.approx(1, abs=0.06)
    assert energy == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("device", WITH_DRAM)
def test_an_lstm_waits_for_its_weights_in_dram(device: str) -> None:
    data = _data(lambda b, x: b.lstm(b.lstm(x, 60), 72), 1, 6, 64)
    cycles, _, flash, _ = _ratios(device, data)
    assert cycles == pytest.approx(1, abs=0.3)
    assert flash == pytest.approx(1, abs=0.15)


def test_thousands_of_steps_take_no_longer_to_look_at_and_stay_finite() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few, many = (
            extract_features(read_graph(_data(lambda b, x: b.lstm(x, 16), 1, time, 8)))
            for time in (10, 50_000)
        )
    assert np.isfinite(many.physical).all()
    ratio = many.cost("cycles_u55_128")[0] / few.cost("cycles_u55_128")[0]
    assert ratio == pytest.approx(5000, rel=0.01)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
@pytest.mark.parametrize("time", [1, 28])
@pytest.mark.parametrize("units", [(20,), (20, 64, 32)])
def test_states_are_there_all_the_time_and_the_first_gate_until_it_is_needed(
    device: str, time: int, units: tuple[int, ...]
) -> None:
    def build(b: Builder, x: Any) -> Any:
        for each in units:
            x = b.lstm(x, each)
        return b.fully_connected(x, 200)

    assert _ratios(device, _data(build, 1, time, 28))[1] == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256", "ethos-u65-512"])
def test_lstms_read_rows(device: str) -> None:
    sram = _ratios(device, _data(lambda b, x: b.lstm(b.lstm(x, 20), 8), 1, 28, 28))[1]
    assert sram == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u65-512"])
def test_the_place_of_the_largest_value_is_found_as_vela_finds_it(device: str) -> None:
    data = _data(lambda b, x: b.arg_max(b.conv(x, 19)), 1, 40, 36, 16)
    cycles, sram, flash, _ = _ratios(device, data)
    assert cycles == pytest.approx(1, abs=0.2 if device == "ethos-u65-512" else 0.06)
    assert sram == pytest.approx(1, abs=0.4 if "u85" in device else 0.02)
    assert flash == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512"])
def test_places_in_large_images_are_found_block_by_block(device: str) -> None:
    data = _data(lambda b, x: b.arg_max(x), 1, 260, 256, 19)
    cycles, sram, *_ = _ratios(device, data)
    assert cycles == pytest.approx(1, abs=0.02)
    assert sram == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u65-512"])
@pytest.mark.parametrize("name", ["REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [(1,), (2,), (3,), (1, 2)])
def test_largest_and_smallest_values(device: str, name: str, axes: tuple[int, ...]) -> None:
    data = _data(lambda b, x: _reduced(b, x, name, axes), 1, 20, 28, 24)
    assert _ratios(device, data)[0] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("device", DEVICES[:3])
def test_a_sum_over_channels_is_a_convolution(device: str) -> None:
    data = _data(lambda b, x: _reduced(b, x, "SUM", (3,)), 1, 24, 20, 80)
    assert _ratios(device, data)[0] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u65-512"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_mean_over_channels_has_these_as_its_width(device: str, keep: bool) -> None:
    data = _data(lambda b, x: b.mean(x, axes=(2,), keep_dims=keep), 1, 50, 120)
    assert _ratios(device, data)[0] == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u65-512"])
def test_a_mean_over_channels_reads_them_in_a_row(device: str) -> None:
    data = _data(lambda b, x: b.mean(b.fully_connected(x, 88), axes=(2,), keep_dims=True), 1, 36, 40)
    assert _ratios(device, data)[0] == pytest.approx(1, abs=0.08)


def test_means_over_channels_of_images_go_to_the_cpu() -> None:
    data = _data(lambda b, x: b.mean(b.conv(x, 24), axes=(3,), keep_dims=True), 1, 8, 8, 16)
    features = extract_features(read_graph(data))
    assert features.cost("cycles_u55_128")[1] == features.cost("cycles_u85_256")[1] == 0
    theirs = vela("ethos-u55-128", data)
    assert theirs is not None
    assert ours("ethos-u55-128", features)[0] == pytest.approx(theirs[0], rel=0.05)


def test_places_among_many_channels_are_found_by_the_cpu_of_u55() -> None:
    data = _data(lambda b, x: b.arg_max(b.tanh(x)), 1, 12, 150)
    features = extract_features(read_graph(data))
    assert features.cost("cycles_u55_128")[1] == 0 < features.cost("cycles_u85_256")[1]
    assert _ratios("ethos-u55-128", data)[0] == pytest.approx(1, abs=0.15)
