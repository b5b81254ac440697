"""Accelerators with DRAM against the installed Vela: shapes, blocks, weights that are copied, what stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from perfsage.features import GraphFeatures, extract_features
from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.graph import read_graph
from perfsage.models.physics import memory_limit_bytes, memory_rates, term_columns, unit_rates
from profilers.npu.configuration import parse_configuration
from profilers.npu.tasks import compile_model

DEVICES = ("ethos-u65-512", "ethos-u85-1024")


def _made(build: Any, shape: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=5)
    b.output(build(b, b.input(shape)))
    return b.finish()


def _ratios(device: str, data: bytes) -> tuple[float, float]:
    """Return the formulas' cycles and peak bytes of SRAM over Vela's."""
    features: GraphFeatures = extract_features(read_graph(data))
    configuration = parse_configuration(device)
    descriptors = configuration.descriptors()
    rates, terms = unit_rates(descriptors), term_columns(features.physical)
    assert rates is not None
    times = terms * rates
    cycles = (times[:, 0] + times[:, 1:].max(axis=1)).sum() * configuration.clock_hz / 1e3
    live = min(float((terms @ memory_rates(descriptors)).max()), memory_limit_bytes(descriptors))
    theirs = compile_model(data, {"device": device, "layers": False})
    return cycles / theirs["total_cycles"], live / theirs["memories"]["sram"]["peak_bytes"]


@pytest.mark.parametrize("device", DEVICES)
def test_functions_of_one_channel_are_worked_on_in_a_deeper_shape(device: str) -> None:
    data = _made(lambda b, x: b.tanh(b.tanh(x)), (1, 96, 80, 1))
    cycles, sram = _ratios(device, data)
    assert cycles == pytest.approx(1.0, abs=0.3)
    assert sram == pytest.approx(1.0, abs=0.02)


def test_shapes_have_the_smallest_factors_as_channels() -> None:
    assert deep_shapes(np.array([7680.0, 17.0, 2.0**31 - 1])).tolist() == [
        [40.0, 12.0, 16.0],
        [1.0, 1.0, 17.0],
        [1.0, 1.0, 2.0**31 - 1],
    ]


def test_far_strides_of_u85_are_done_block_by_block() -> None:
    data = _made(lambda b, x: b.conv(b.conv(x, 32, kernel=5, stride=4), 8), (1, 120, 88, 3))
    assert _ratios("ethos-u85-1024", data)[0] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("device", DEVICES)
def test_weights_are_copied_where_vela_copies_them(device: str) -> None:
    def chain(b: Builder, x: Any) -> Any:
        for channels in (24, 56, 40, 112):
            x = b.conv(x, channels, kernel=3)
        return b.fully_connected(b.mean(x), 10)

    cycles, sram = _ratios(device, _made(chain, (1, 14, 18, 8)))
    assert cycles == pytest.approx(1.0, abs=0.05)
    assert sram == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_most_peaks_of_sampled_networks_are_velas(device: str) -> None:
    found = [
        _ratios(device, get_space("classification").build(seed, "int8").data)[1] for seed in range(6100, 6108)
    ]
    assert np.median(np.abs(np.array(found) - 1.0)) < 0.02


def test_blocks_without_a_window_have_many_channels() -> None:
    data = _made(lambda b, x: b.conv(b.depthwise(x, kernel=1), 16), (1, 36, 48, 96))
    assert _ratios("ethos-u85-1024", data)[0] == pytest.approx(1.0, abs=0.2)
