"""What the larger U85 work off stripe by stripe, and what is counted of larger tensors, beside Vela."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.npu_formulas import ours, vela
from dataset.builder import Builder
from perfsage.features import extract_features
from perfsage.graph import read_graph


def _assert_like_vela(device: str, build: Any, shape: tuple[int, ...], *, cycles: float, sram: float) -> None:
    """Fail where cycles or SRAM are further from Vela's than such a share."""
    found = _ratios(device, build, shape)
    assert found == (pytest.approx(1.0, abs=cycles), pytest.approx(1.0, abs=sram))


def _ratios(device: str, build: Any, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the formulas' cycles and peak bytes of SRAM over Vela's."""
    b = Builder(dtype="int8", seed=5)
    b.output(build(b, b.input(shape)))
    data = b.finish()
    mine, theirs = ours(device, extract_features(read_graph(data))), vela(device, data)
    assert theirs is not None
    return mine[0] / theirs[0], mine[1] / theirs[1]


def _three(b: Builder, x: Any) -> Any:
    for _ in range(3):
        x = b.conv(x, 32, kernel=3)
    return x


@pytest.mark.parametrize("device", ["ethos-u85-1024", "ethos-u85-2048"])
def test_what_is_between_operators_of_a_cascade_stays_in_sram(device: str) -> None:
    _assert_like_vela(device, _three, (1, 160, 160, 32), cycles=0.001, sram=0.07)


def test_weights_within_a_cascade_find_what_the_ones_before_leave() -> None:
    def deep(b: Builder, x: Any) -> Any:
        for kernel in (7, 5, 3):
            x = b.conv(x, 64, kernel=kernel)
        return x

    _assert_like_vela("ethos-u85-1024", deep, (1, 80, 80, 32), cycles=0.005, sram=0.01)


def test_a_cascade_becomes_several_where_higher_stripes_ask_for_it() -> None:
    def separable(b: Builder, x: Any) -> Any:
        x = b.conv(x, 32, stride=2)
        for channels, stride in ((64, 1), (128, 2), (128, 1)):
            x = b.conv(b.depthwise(x, stride=stride), channels, kernel=1)
        return b.depthwise(x, stride=2)

    _assert_like_vela("ethos-u85-1024", separable, (1, 224, 224, 3), cycles=0.005, sram=0.01)


def test_images_have_room_before_weights_where_both_do_not_fit() -> None:
    def separable(b: Builder, x: Any) -> Any:
        x = b.conv(x, 512, stride=2)
        for _ in range(3):
            x = b.conv(b.depthwise(x), 512, kernel=1)
        return x

    _assert_like_vela("ethos-u85-1024", separable, (1, 38, 38, 8), cycles=0.01, sram=0.005)


def test_slices_are_as_deep_as_whole_microblocks_of_their_operator() -> None:
    def wide(b: Builder, x: Any) -> Any:
        return b.conv(b.conv(x, 80, kernel=5, stride=2), 80, kernel=9, stride=2)

    _assert_like_vela("ethos-u85-1024", wide, (1, 60, 80, 80), cycles=0.005, sram=0.02)


def test_weights_are_not_copied_ahead_where_a_cascade_leaves_no_room() -> None:
    def mean(b: Builder, x: Any) -> Any:
        x = b.depthwise(b.conv(x, 192, kernel=1))
        return b.conv(b.mean(x, keep_dims=True), 48, kernel=1)

    _assert_like_vela("ethos-u85-1024", mean, (1, 40, 40, 64), cycles=0.01, sram=0.01)


@pytest.mark.parametrize("device", ["ethos-u85-256", "ethos-u85-1024"])
def test_a_function_counts_all_of_the_concatenation_that_it_writes_a_part_of(device: str) -> None:
    def parts(b: Builder, x: Any) -> Any:
        x = b.conv(x, 16)
        each = [b.conv(x, filters, kernel=1, activation="relu") for filters in (16, 112)]
        return b.conv(b.concat(each), 16)

    _assert_like_vela(device, parts, (1, 48, 48, 8), cycles=0.005, sram=0.005)


def test_a_broadcast_operand_is_read_once() -> None:
    def gated(b: Builder, x: Any) -> Any:
        x = b.conv(x, 64)
        return b.conv(b.mul(x, b.logistic(b.conv(b.mean(x, keep_dims=True), 64, kernel=1))), 16)

    assert _ratios("ethos-u85-1024", gated, (1, 96, 96, 32))[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("device", ["ethos-u85-128", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize(("kernel", "stride", "filters"), [(3, 1, 64), (5, 2, 48), (7, 1, 24)])
def test_windows_of_one_channel_have_the_blocks_that_fit_beside_another_row(
    device: str, kernel: int, stride: int, filters: int
) -> None:
    def windows(b: Builder, x: Any) -> Any:
        x = b.depthwise(b.conv(x, filters), kernel=kernel, stride=stride)
        return b.conv(b.max_pool(x, kernel=3, stride=2), 16)

    assert _ratios(device, windows, (1, 56, 48, 8))[0] == pytest.approx(1.0, abs=0.01)


def test_a_part_is_copied_in_its_own_shape() -> None:
    def twice(b: Builder, x: Any) -> Any:
        x = b.conv(x, 68)
        return b.conv(b.add(b.conv(b.concat([x, x]), 16), b.conv(x, 16)), 16)

    assert _ratios("ethos-u85-256", twice, (1, 96, 96, 8))[0] == pytest.approx(1.0, abs=0.003)


def test_what_is_copied_into_a_concatenation_keeps_its_bricks() -> None:
    def twice(b: Builder, x: Any) -> Any:
        x = b.conv(x, 68)
        return b.conv(b.add(b.conv(b.concat([x, x]), 16), b.conv(x, 16)), 16)

    assert _ratios("ethos-u85-1024", twice, (1, 96, 96, 8))[0] == pytest.approx(1.0, abs=0.003)
