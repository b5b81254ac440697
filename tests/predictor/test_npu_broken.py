"""Operators that Vela breaks up into several, beside what Vela itself says of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.npu_formulas import ours, vela
from dataset.builder import Builder, Tensor
from dataset.spaces.attention import attention, layer_norm
from perfsage.features import extract_features
from perfsage.graph import read_graph
from tests.predictor.npu import operator_cycles

OLD = ("ethos-u55-32", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512")


def _normalized(shape: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=3)
    x = b.input(shape)
    b.output(b.add(layer_norm(b, b.add(x, x)), x))
    return b.finish()


def _attentive(shape: tuple[int, int, int], heads: int) -> bytes:
    b = Builder(dtype="int8", seed=3)
    x = b.input(shape)
    b.output(b.add(attention(b, b.add(x, x), heads), x))
    return b.finish()


def _ratios(device: str, data: bytes, name: str) -> np.ndarray:
    """Return our cycles over Vela's, for each operator of a type."""
    types, cycles, theirs = operator_cycles(device, data)
    return np.array([cycles[row] / theirs[row] for row in np.flatnonzero(types == name)])


@pytest.mark.parametrize("device", OLD)
def test_products_of_two_tensors_take_as_long_as_vela_says(device: str) -> None:
    ratios = _ratios(device, _attentive((1, 37, 40), 2), "BATCH_MATMUL")
    assert len(ratios) == 2
    assert ratios == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("device", [*OLD, "ethos-u85-128", "ethos-u85-256"])
def test_squared_differences_take_as_long_as_vela_says(device: str) -> None:
    for shape in ((1, 53, 56), (1, 20, 80)):
        assert _ratios(device, _normalized(shape), "SQUARED_DIFFERENCE") == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("device", [*OLD[:4], "ethos-u85-128", "ethos-u85-256"])
def test_means_over_channels_take_as_long_as_vela_says(device: str) -> None:
    assert _ratios(device, _normalized((1, 53, 56)), "MEAN") == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("device", OLD[:4])
def test_arithmetic_with_constants_takes_as_long_as_vela_says(device: str) -> None:
    ratios = _ratios(device, _normalized((1, 53, 56)), "MUL")
    assert ratios[:2] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-256"])
def test_a_layer_norm_takes_what_vela_says(device: str) -> None:
    data = _normalized((1, 53, 56))
    cycles, _, flash, _ = ours(device, extract_features(read_graph(data)))
    theirs = vela(device, data)
    assert theirs is not None
    assert cycles == pytest.approx(theirs[0], rel=0.05)
    assert flash == pytest.approx(theirs[2], rel=0.02)


def _broken(b: Builder, x: Tensor) -> Tensor:
    return b.batch_matmul(b.squared_difference(x, x), x, transpose_b=True)


def test_damaged_sizes_give_finite_numbers() -> None:
    b = Builder(dtype="int8", seed=3)
    b.output(_broken(b, b.input((1, 1 << 20, 1 << 5))))
    with np.errstate(all="raise", under="ignore"):
        features = extract_features(read_graph(b.finish()))
    assert np.isfinite(features.physical).all()


def test_a_mean_over_channels_of_an_image_is_left_to_the_cpu() -> None:
    b = Builder(dtype="int8", seed=3)
    x = b.input((1, 12, 10, 16))
    b.output(b.mean(b.add(x, x), axes=(-1,), keep_dims=True))
    data = b.finish()
    cycles, *_ = ours("ethos-u55-128", extract_features(read_graph(data)))
    theirs = vela("ethos-u55-128", data)
    assert theirs is not None
    assert cycles == pytest.approx(theirs[0], rel=0.03)


@pytest.mark.parametrize("device", ["ethos-u85-128", "ethos-u85-512", "ethos-u85-2048"])
def test_heads_are_transposed_and_multiplied_as_fast_as_vela_says(device: str) -> None:
    data = _attentive((1, 37, 96), 3)
    assert _ratios(device, data, "TRANSPOSE")[:3] == pytest.approx(1.0, abs=0.1)
    assert _ratios(device, data, "BATCH_MATMUL")[1] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256", "ethos-u85-1024"])
def test_integers_take_the_room_that_vela_gives_them(device: str) -> None:
    data = _normalized((1, 53, 56))
    _, live, *_ = ours(device, extract_features(read_graph(data)))
    theirs = vela(device, data)
    assert theirs is not None
    assert live == pytest.approx(theirs[1], rel=0.03)


@pytest.mark.parametrize(("device", "turned"), [("ethos-u55-128", False), ("ethos-u85-1024", True)])
def test_products_turn_their_second_operand(device: str, turned: bool) -> None:
    b = Builder(dtype="int8", seed=3)
    x = b.input((1, 3, 28, 40))
    b.output(
        b.batch_matmul(
            b.add(x, x), b.input((1, 3, 40, 24) if turned else (1, 3, 24, 40)), transpose_b=not turned
        )
    )
    data = b.finish()
    cycles, *_ = ours(device, extract_features(read_graph(data)))
    theirs = vela(device, data)
    assert theirs is not None
    assert cycles == pytest.approx(theirs[0], rel=0.06)
