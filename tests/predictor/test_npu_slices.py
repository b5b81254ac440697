"""How long operators take that Vela cuts, enlarges, joins, or follows by others: the formulas beside Vela."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from tests.predictor.npu import operator_cycles

Build = Callable[[Builder, Any], Any]


def _ratio(device: str, build: Build, shape: tuple[int, ...], row: int | None = None) -> float:
    """Return the formulas' cycles over Vela's: of the operator in that row, or of all."""
    b = Builder(dtype="int8", seed=5)
    b.output(build(b, b.input(shape)))
    _, mine, theirs = operator_cycles(device, b.finish())
    if row is None:
        return float(mine.sum()) / sum(theirs.values())
    return float(mine[row]) / theirs[row]


@pytest.mark.parametrize("device", ["ethos-u65-512", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize(("channels", "filters", "kernel"), [(1, 24, 7), (3, 64, 5), (1, 32, 3)])
def test_a_first_convolution_is_cut_where_slices_take_no_longer(
    device: str, channels: int, filters: int, kernel: int
) -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.conv(x, filters, kernel=kernel, stride=2), 16)

    assert _ratio(device, build, (1, 80, 80, channels), 0) == pytest.approx(1.0, abs=0.02)


def test_slices_may_be_deeper_than_all_channels() -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.conv(x, 172, kernel=5, stride=(3, 2)), 76, kernel=(3, 5), stride=(2, 1))

    # The second convolution's weights are copied while the last slice of the first one runs.
    assert _ratio("ethos-u85-1024", build, (1, 49, 10, 1)) == pytest.approx(1.0, abs=0.02)


def test_slices_of_half_a_microblock_take_longer_to_copy() -> None:
    # These convolutions have 32 channels, all of whose weights are in one microblock.
    data = get_space("super_resolution").build(1055, "int8").data
    _, mine, theirs = operator_cycles("ethos-u85-1024", data)
    for row in (11, 32, 35):
        assert mine[row] == pytest.approx(theirs[row], rel=0.02)


def test_operators_of_a_cascade_are_not_cut() -> None:
    def build(b: Builder, x: Any) -> Any:
        for _ in range(3):
            x = b.conv(x, 24, kernel=3)
        return b.conv(x, 8, stride=2)

    assert _ratio("ethos-u85-1024", build, (1, 240, 320, 1), 0) == pytest.approx(1.0, abs=0.02)


def test_what_is_chained_to_others_is_planned_where_images_are() -> None:
    def build(b: Builder, x: Any) -> Any:
        x = b.conv(x, 32, kernel=3)
        return b.conv(b.mul(x, b.logistic(x)), 8)

    assert _ratio("ethos-u85-1024", build, (1, 40, 40, 16), 1) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("device", ["ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize(("side", "factor"), [(12, 4), (12, 2), (1, 10)])
def test_u85_enlarges_images_by_any_factor_row_by_row(device: str, side: int, factor: int) -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.resize_bilinear(b.conv(x, 24), (side * factor, side * factor)), 8)

    assert _ratio(device, build, (1, side, side, 8), 1) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("device", "kernel", "stride"),
    [
        *(("ethos-u85-256", 9, 2), ("ethos-u85-256", 5, 2), ("ethos-u85-256", 4, 3)),
        *(("ethos-u85-1024", 9, 2), ("ethos-u85-1024", 5, 2)),
    ],
)
def test_parts_of_a_transposed_kernel_count_as_they_are(device: str, kernel: int, stride: int) -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.transpose_conv(b.conv(x, 48), 4, kernel=kernel, stride=stride), 8)

    assert _ratio(device, build, (1, 24, 32, 8), 1) == pytest.approx(1.0, abs=0.04)


def test_u85_joins_in_place_what_others_have_from_the_cpu() -> None:
    def build(b: Builder, x: Any) -> Any:
        x = b.conv(x, 32)
        large = b.resize_bilinear(b.conv(x, 32, stride=4), (24, 24))
        return b.conv(b.concat([large, b.conv(x, 16)]), 8)

    assert _ratio("ethos-u85-256", build, (1, 24, 24, 8)) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("device", "activation"), [("ethos-u85-256", "relu"), ("ethos-u85-1024", "none")])
def test_a_far_stride_is_worked_off_slice_by_slice_on_u85(device: str, activation: Any) -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.conv(x, 64, kernel=5, stride=4, activation=activation), 16)

    assert _ratio(device, build, (1, 64, 64, 3), 0) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((1, 160, 32, 2), (1, 32, 160, 2)),
        ((1, 112, 24, 6), (1, 24, 112, 6)),
        ((1, 96, 12, 80), (1, 12, 96, 80)),
    ],
)
def test_what_only_changes_its_shape_is_copied_as_it_comes_in(
    device: str, shape: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    assert _ratio(device, lambda b, x: b.reshape(x, seen), shape) == pytest.approx(1.0, abs=0.02)


def test_weights_come_while_an_activation_of_its_own_runs() -> None:
    def build(b: Builder, x: Any) -> Any:
        x = b.conv(b.max_pool(b.conv(x, 8, kernel=3)), 4, activation="relu6")
        return b.conv(b.depthwise(x), 16)

    assert _ratio("ethos-u65-512", build, (1, 32, 32, 3), 3) == pytest.approx(1.0, abs=0.02)


def test_multiples_of_channels_come_one_after_the_other() -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.depthwise(b.conv(x, 32, stride=2), kernel=(3, 1), multiplier=2), 8)

    assert _ratio("ethos-u65-512", build, (1, 49, 10, 1), 1) == pytest.approx(1.0, abs=0.03)


def test_corners_of_a_doubled_image_come_one_after_the_other() -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.resize_bilinear(b.conv(x, 48), (16, 16)), 8)

    assert _ratio("ethos-u65-512", build, (1, 8, 8, 8), 1) == pytest.approx(1.0, abs=0.1)


def test_two_tensors_are_read_each_in_its_own_format() -> None:
    def build(b: Builder, x: Any) -> Any:
        x = b.conv(x, 64)
        return b.conv(b.add(b.resize_bilinear(b.conv(x, 64, stride=2), (80, 80)), x), 8)

    assert _ratio("ethos-u65-512", build, (1, 80, 80, 8), 3) == pytest.approx(1.0, abs=0.05)
