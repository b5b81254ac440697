"""What an NPU's code makes of weights, beside the flash that Vela itself reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder, Tensor
from perfsage.features import extract_features
from perfsage.graph import read_graph, read_structure, strip_weights
from perfsage.graph.weight_coding import weight_coding
from profilers.npu.tasks import compile_model

SHAPES = ((8, 128, 128, 1), (8, 64, 64, 3), (16, 24, 40, 3), (8, 20, 300, 1), (2, 300, 70, 1))
"""Sides, channels in and out, and kernels: without and with padding of either."""


def _convolution(shape: tuple[int, int, int, int], sparsity: float, spread: float) -> bytes:
    side, channels, filters, kernel = shape
    b = Builder(dtype="int8", seed=1, sparsity=sparsity, spread=spread)
    b.output(b.conv(b.input((1, side, side, channels)), filters, kernel=kernel))
    return b.finish()


def _stored(device: str, data: bytes) -> tuple[float, float]:
    """Return the bytes of constants, ours and Vela's."""
    name = device.removeprefix("ethos-").replace("-", "_")
    ours = float(extract_features(read_graph(data)).cost(f"coded_{name}").sum())
    return ours, compile_model(data, {"device": device, "layers": False})["read_only_bytes"]


@pytest.mark.parametrize(("device", "most"), [("ethos-u55-128", 0.015), ("ethos-u85-256", 0.02)])
def test_coded_weights_and_scales_are_velas_flash(device: str, most: float) -> None:
    errors = []
    for shape in SHAPES:
        for sparsity, spread in ((0.0, 1.0), (0.2, 0.4), (0.6, 0.2)):
            ours, theirs = _stored(device, _convolution(shape, sparsity, spread))
            errors.append(abs(ours / theirs - 1))
    assert np.median(errors) < most


WHOLE: dict[str, tuple[tuple[int, ...], Callable[[Builder, Tensor], Tensor]]] = {
    "streams of padding alone": ((1, 32, 32, 16), lambda b, x: b.conv(b.conv(x, 8, kernel=9), 8)),
    "wide streams of a depthwise convolution": (
        (1, 32, 32, 16),
        lambda b, x: b.conv(b.depthwise(b.conv(x, 32), kernel=5), 8),
    ),
    "parts of a transposed convolution": (
        (1, 16, 16, 16),
        lambda b, x: b.conv(b.transpose_conv(b.conv(x, 32), 16, kernel=3, stride=2), 8),
    ),
    "a mean in parts that are alike": ((1, 96, 96, 16), lambda b, x: b.mean(b.conv(x, 32))),
    "an only channel": ((1, 16, 16, 8), lambda b, x: b.conv(x, 1)),
    "slices": ((1, 8, 8, 256), lambda b, x: b.conv(b.conv(x, 256), 256)),
    "slices of which the last has padding": (
        (1, 8, 8, 256),
        lambda b, x: b.conv(b.conv(b.conv(x, 256), 20), 276),
    ),
    "two means of the same size": (
        (1, 16, 16, 32),
        lambda b, x: b.mul(
            b.mul(x, b.mean(x, keep_dims=True)), b.mean(b.conv(b.relu(x), 32), keep_dims=True)
        ),
    ),
    "two images that are doubled": (
        (1, 8, 8, 64),
        lambda b, x: b.resize_bilinear(b.resize_bilinear(x, (16, 16)), (32, 32)),
    ),
    "a border": ((1, 16, 16, 8), lambda b, x: b.max_pool(b.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))),
    "streams that have padding where others have channels": (
        (1, 8, 8, 96),
        lambda b, x: b.conv(x, 24, kernel=5),
    ),
    "parts of a kernel with wide dilation": ((1, 32, 32, 16), lambda b, x: b.conv(x, 32, dilation=6)),
    "groups": ((1, 16, 16, 64), lambda b, x: b.conv(x, 64, groups=2)),
    "constants that are added, two of them alike": (
        (1, 16, 16, 32),
        lambda b, x: b.add(b.add(b.add(x, _row(b, 1)), _row(b, 1)), _row(b, 2)),
    ),
}


def _row(b: Builder, seed: int) -> Tensor:
    values = np.random.default_rng(seed).normal(0.0, 30.0, (1, 1, 1, 32)).astype(np.int8)
    return b.constant(values, scale=0.1)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize("case", WHOLE)
def test_flash_of_a_graph_is_velas(case: str, device: str) -> None:
    shape, build = WHOLE[case]
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    data = b.finish()
    ours, theirs = _stored(device, data)
    assert ours == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize(("channels", "kernel"), [(128, (3, 9)), (40, 7)])
def test_zeros_that_fill_up_kernels_are_coded_together(
    device: str, channels: int, kernel: int | tuple[int, int]
) -> None:
    b = Builder(dtype="int8", seed=3, spread=0.4)
    b.output(b.conv(b.input((1, 12, 12, channels)), 64, kernel=kernel))
    ours, theirs = _stored(device, b.finish())
    assert ours == pytest.approx(theirs, rel=0.003)


def test_some_of_several_streams_have_runs_where_zeros_just_suffice() -> None:
    errors = []
    for seed in range(1, 7):
        b = Builder(dtype="int8", seed=seed, spread=0.4)
        b.output(b.conv(b.input((1, 8, 8, 64)), 128, kernel=3))
        ours, theirs = _stored("ethos-u85-1024", b.finish())
        errors.append(ours / theirs - 1)
    assert np.abs(errors).max() < 0.03


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
@pytest.mark.parametrize("channels", [1, 3])
def test_gaps_between_few_input_channels_are_as_long(device: str, channels: int) -> None:
    b = Builder(dtype="int8", seed=2)
    b.output(b.conv(b.input((1, 12, 12, channels)), 128, kernel=9))
    ours, theirs = _stored(device, b.finish())
    assert ours == pytest.approx(theirs, rel=0.01)


def test_streams_of_few_values_have_all_of_them_in_their_palette() -> None:
    errors = []
    for channels, filters in ((16, 8), (16, 16), (8, 16), (24, 8), (16, 12)):
        b = Builder(dtype="int8", seed=3, sparsity=0.6)
        b.output(b.conv(b.input((1, 12, 12, channels)), filters, kernel=1))
        ours, theirs = _stored("ethos-u85-1024", b.finish())
        errors.append(ours / theirs - 1)
    assert np.abs(errors).mean() < 0.08


@pytest.mark.parametrize("spread", [0.2, 0.5])
def test_large_weights_are_told_from_their_sample(spread: float) -> None:
    ours, theirs = _stored("ethos-u55-128", _convolution((4, 128, 256, 3), 0.0, spread))
    assert ours == pytest.approx(theirs, rel=0.003)


class _SharingBuilder(Builder):
    """Gives all convolutions the weights and the bias of the first one."""

    def _parameters(self, *given: Any, **options: Any) -> tuple[Tensor, Tensor]:
        if not hasattr(self, "_given"):
            self._given = super()._parameters(*given, **options)
        return self._given


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
def test_weights_that_are_read_twice_are_stored_once(device: str) -> None:
    b = _SharingBuilder(dtype="int8", seed=3)
    x = b.input((1, 32, 32, 32))
    b.output(b.add(b.conv(x, 32), b.conv(b.max_pool(x, kernel=3, stride=1, padding="same"), 32)))
    data = b.finish()
    ours = extract_features(read_graph(data)).cost(f"coded_{device.removeprefix('ethos-').replace('-', '_')}")
    theirs = compile_model(data, {"device": device, "layers": False})["read_only_bytes"]
    assert ours.sum() == pytest.approx(theirs, rel=0.06)


def test_a_structure_without_weights_says_the_same() -> None:
    graph = read_graph(_convolution(SHAPES[2], 0.3, 0.6))
    whole, stripped = extract_features(graph), extract_features(read_structure(strip_weights(graph)))
    assert np.array_equal(whole.physical, stripped.physical)
    assert np.array_equal(whole.node, stripped.node)


def test_equal_weights_take_next_to_nothing() -> None:
    """One value alone has a palette of one entry, and zeros come as runs."""
    dense = extract_features(read_graph(_convolution(SHAPES[0], 0.0, 1.0)))
    pruned = extract_features(read_graph(_convolution(SHAPES[0], 0.99, 1.0)))
    scales = 10 * dense.cost("channels")[0]
    assert pruned.cost("coded_u55_128")[0] - scales < (dense.cost("coded_u55_128")[0] - scales) / 10


def test_zero_points_shift_the_values_that_are_coded() -> None:
    """uint8 weights around 131 are int8 weights around 0, alone or beside others."""
    rng = np.random.default_rng(0)
    values = np.clip(np.round(rng.normal(0, 20, (3, 4000))), -100, 100).astype(int)
    signed = np.stack([np.bincount(row + 128, minlength=256) for row in values]).astype(np.int32)
    shifted = np.stack([np.bincount(row + 131 + place, minlength=256) for place, row in enumerate(values)])
    plain = weight_coding(signed, -128, np.zeros(3, np.int64))
    moved = weight_coding(shifted.astype(np.int32), 0, np.array([131, 132, 133]))
    assert all(np.array_equal(a, b) for a, b in zip(plain, moved, strict=True))
