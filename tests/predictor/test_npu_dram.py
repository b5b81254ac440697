"""Accelerators with DRAM against the installed Vela: shapes, blocks, weights that are copied, what stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.npu_formulas import ours, vela
from dataset.builder import Builder
from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.graph import read_graph

DEVICES = ("ethos-u65-512", "ethos-u85-1024")


def _made(build: Any, shape: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=5)
    b.output(build(b, b.input(shape)))
    return b.finish()


def _ratios(device: str, data: bytes) -> tuple[float, float]:
    """Return the formulas' cycles and peak bytes of SRAM over Vela's."""
    mine, theirs = ours(device, extract_features(read_graph(data))), vela(device, data)
    assert theirs is not None
    return mine[0] / theirs[0], mine[1] / theirs[1]


@pytest.mark.parametrize("device", DEVICES)
def test_functions_of_one_channel_are_worked_on_in_a_deeper_shape(device: str) -> None:
    data = _made(lambda b, x: b.tanh(b.tanh(x)), (1, 96, 80, 1))
    cycles, sram = _ratios(device, data)
    assert cycles == pytest.approx(1.0, abs=0.3)
    assert sram == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u85-256"])
def test_arithmetic_on_what_enters_the_graph_leaves_the_rest_in_dram(device: str) -> None:
    """U85 chains two of them and no more, since a chain reads three tensors at most."""
    b = Builder(dtype="int8", seed=5)
    made = b.input((1, 40, 24, 12))
    for _ in range(5):
        made = b.add(made, b.input((1, 40, 24, 12)))
    b.output(b.conv(made, 16))
    assert _ratios(device, b.finish()) == pytest.approx((1.0, 1.0), abs=0.02)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u55-128", "ethos-u85-256"])
def test_reshapes_from_end_to_end_copy_once(device: str) -> None:
    data = _made(lambda b, x: b.reshape(b.reshape(x, (1, 64, 3, 32)), (1, 96, 2, 32)), (1, 3, 64, 32))
    mine, theirs = ours(device, extract_features(read_graph(data))), vela(device, data)
    assert theirs is not None
    assert mine[0] == pytest.approx(theirs[0], rel=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_activations_of_their_own_read_sram(device: str) -> None:
    data = _made(lambda b, x: b.conv(x, 6, kernel=5, activation="relu"), (1, 12, 64, 16))
    assert _ratios(device, data) == pytest.approx((1.0, 1.0), abs=0.03)


def test_images_that_are_copied_to_sram_are_read_there() -> None:
    data = _made(lambda b, x: b.depthwise(x, kernel=9, stride=2), (1, 20, 40, 80))
    assert _ratios("ethos-u85-1024", data) == pytest.approx((1.0, 1.0), abs=0.01)


def test_images_behind_a_reshape_are_copied_to_sram_as_well() -> None:
    def wide(b: Builder, x: Any) -> Any:
        return b.depthwise(b.reshape(x, (1, 20, 40, 80)), kernel=9, stride=2)

    assert _ratios("ethos-u85-1024", _made(wide, (1, 40, 20, 80))) == pytest.approx((1.0, 1.0), abs=0.01)


def test_weights_of_one_pass_over_all_channels_are_copied() -> None:
    data = _made(lambda b, x: b.depthwise(b.depthwise(x, kernel=5), kernel=7), (1, 16, 20, 256))
    assert _ratios("ethos-u65-512", data)[1] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512"])
def test_places_among_a_single_channel_are_not_searched(device: str) -> None:
    data = _made(lambda b, x: b.arg_max(b.conv(x, 1)), (1, 40, 40, 16))
    assert _ratios(device, data)[1] == pytest.approx(1.0, abs=0.03)


def test_images_that_are_doubled_are_read_from_sram_four_times() -> None:
    data = _made(lambda b, x: b.resize_bilinear(x, (112, 80)), (1, 56, 40, 128))
    assert _ratios("ethos-u65-512", data) == pytest.approx((1.0, 1.0), abs=0.02)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u55-128", "ethos-u85-256"])
def test_images_that_are_doubled_have_blocks_of_their_own(device: str) -> None:
    data = _made(lambda b, x: b.resize_nearest(b.max_pool(x), (96, 128), half_pixel=False), (1, 96, 128, 16))
    assert _ratios(device, data) == pytest.approx((1.0, 1.0), abs=0.02)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u55-128", "ethos-u85-256"])
def test_functions_after_activations_are_operators(device: str) -> None:
    data = _made(lambda b, x: b.conv(b.tanh(b.conv(x, 24, activation="relu")), 8), (1, 20, 30, 16))
    assert _ratios(device, data) == pytest.approx((1.0, 1.0), abs=0.03)


@pytest.mark.parametrize("device", [*DEVICES, "ethos-u55-128", "ethos-u85-256"])
def test_padding_is_copied_around_the_image(device: str) -> None:
    """The image is copied, too, unless a single operator makes it."""

    def padded(b: Builder, x: Any) -> Any:
        rim = [(0, 0), (1, 1), (0, 1), (0, 0)]
        y = b.max_pool(b.pad(b.pad(x, rim), rim))
        return b.average_pool(b.pad(y, rim), kernel=3, stride=1)

    cycles, sram = _ratios(device, _made(padded, (1, 20, 26, 24)))
    assert cycles == pytest.approx(1.0, abs=0.03)
    assert sram == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("device", ["ethos-u55-128", *DEVICES[:1], "ethos-u85-256"])
def test_parts_of_something_keep_their_few_channels(device: str) -> None:
    def joined(b: Builder, x: Any) -> Any:
        y = b.conv(x, 3, kernel=3)
        return b.conv(b.concat([b.add(y, y), y]), 16)

    def cut(b: Builder, x: Any) -> Any:
        first, second = b.split(b.conv(x, 6, kernel=3), 2)
        return b.conv(b.add(first, second), 16)

    for build in (joined, cut):
        cycles, sram = _ratios(device, _made(build, (1, 31, 41, 3)))
        assert cycles == pytest.approx(1.0, abs=0.03)
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


def _sliced(b: Builder, x: Any) -> Any:
    step = b.reshape(b.strided_slice(x, (0, 1, 0), (1, 2, 64)), (1, 64))
    return b.fully_connected(b.fully_connected(step, 64), 32)


def _padded(b: Builder, x: Any) -> Any:
    y = b.pad(b.conv(x, 32), ((0, 0), (3, 3), (3, 3), (0, 0)))
    return b.conv(b.depthwise(y, kernel=7, padding="valid"), 16, kernel=1)


def _grouped(b: Builder, x: Any) -> Any:
    return b.conv(b.conv(b.conv(x, 12, kernel=1), 12, groups=2, stride=2), 16, kernel=1)


def _grouped_widely(b: Builder, x: Any) -> Any:
    return b.conv(b.conv(b.conv(x, 8, kernel=1), 8, groups=8, kernel=5, dilation=6), 16, kernel=1)


def _meant(b: Builder, x: Any) -> Any:
    y = b.mean(b.conv(x, 24), keep_dims=True)
    return b.conv(b.conv(y, 6, kernel=1), 24, kernel=1)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (_sliced, (1, 10, 64)),
        (_padded, (1, 16, 16, 16)),
        (_grouped, (1, 40, 40, 16)),
        (_grouped_widely, (1, 32, 32, 16)),
        (_meant, (1, 12, 8, 24)),
    ],
)
def test_parts_rims_and_groups_are_read_where_they_lie(build: Any, shape: tuple[int, ...]) -> None:
    cycles, _ = _ratios("ethos-u65-512", _made(build, shape))
    assert cycles == pytest.approx(1.0, abs=0.02)
