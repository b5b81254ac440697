"""What transformers are made of on an NPU: layer norms, attention, rows of fully connected layers."""

from __future__ import annotations

from typing import Any

import pytest

from dataset.builder import Builder
from dataset.spaces.attention import attention, layer_norm
from tests.predictor.npu import operator_cycles

DEVICES = ["ethos-u85-256", "ethos-u85-1024"]
BLOCKS = {
    "rows as an image": (lambda b, x: layer_norm(b, attention(b, layer_norm(b, x), 2)), (1, 25, 48)),
    "a prime number of rows": (lambda b, x: layer_norm(b, attention(b, x, 3)), (1, 61, 96)),
    "one head": (lambda b, x: layer_norm(b, attention(b, x, 1)), (1, 98, 24)),
    "many rows": (lambda b, x: attention(b, layer_norm(b, x), 4), (1, 144, 128)),
}
SHUFFLES = {"of bricks": (20, 16), "of half a brick": (12, 8), "of two bricks": (14, 32)}


def _made(build: Any, shape: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    return b.finish()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", BLOCKS)
def test_attention_and_layer_norms_take_as_long_as_vela_says(device: str, name: str) -> None:
    _, ours, theirs = operator_cycles(device, _made(*BLOCKS[name]))
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.03)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512", *DEVICES])
def test_a_transpose_of_axes_of_one_element_takes_no_time(device: str) -> None:
    def build(b: Builder, x: Any) -> Any:
        y = b.transpose(b.reshape(b.fully_connected(x, 24), (1, 98, 1, 24)), (0, 2, 1, 3))
        return b.fully_connected(b.reshape(y, (1, 98, 24)), 24)

    types, ours, _ = operator_cycles(device, _made(build, (1, 98, 32)))
    assert ours[types == "TRANSPOSE"] == pytest.approx(1.0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SHUFFLES)
def test_parts_of_what_is_shuffled_are_written_as_vela_says(device: str, name: str) -> None:
    side, depth = SHUFFLES[name]

    def build(b: Builder, x: Any) -> Any:
        x = b.conv(x, depth)
        y = b.concat([b.conv(x, depth, activation="relu"), b.conv(x, depth, activation="relu")])
        y = b.transpose(b.reshape(y, (1, side * side, 2, depth)), (0, 1, 3, 2))
        return b.conv(b.reshape(y, (1, side, side, 2 * depth)), 16)

    _, ours, theirs = operator_cycles(device, _made(build, (1, side, side, 16)))
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.03)
