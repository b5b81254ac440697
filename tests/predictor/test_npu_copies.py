"""Images that others write where they are needed, and copies of many axes, beside what Vela says of them."""

from __future__ import annotations

from typing import Any

import pytest

from dataset.builder import Builder
from tests.predictor.npu import operator_cycles


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
def test_an_image_that_is_only_padded_is_written_between_the_padding(device: str) -> None:
    def build(b: Builder, x: Any) -> Any:
        # With padding of its own, the second convolution does not take over the pad.
        return b.conv(b.pad(b.conv(x, 16), ((0, 0), (0, 1), (0, 1), (0, 0))), 24, kernel=3, stride=2)

    types, ours, theirs = operator_cycles(device, _made((1, 95, 95, 8), build))
    pad = (types == "PAD").nonzero()[0][0]
    assert max(ours[pad], theirs.get(pad, 0)) < 0.1 * ours.sum()
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.06)


def test_transposes_that_leave_outer_axes_alone_take_them_for_one() -> None:
    def shuffle(b: Builder, x: Any) -> Any:
        parts = b.transpose(b.reshape(b.conv(x, 24), (1, 32, 32, 2, 12)), (0, 1, 2, 4, 3))
        return b.conv(b.reshape(parts, (1, 32, 32, 24)), 8)

    types, ours, theirs = operator_cycles("ethos-u85-1024", _made((1, 32, 32, 8), shuffle))
    row = (types == "TRANSPOSE").nonzero()[0][0]
    assert ours[row] == pytest.approx(theirs[row], rel=0.02)


@pytest.mark.parametrize("device", ["ethos-u85-256", "ethos-u85-1024"])
def test_an_axis_that_becomes_channels_comes_in_their_bricks(device: str) -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.transpose(x, (0, 2, 3, 1)), 16, kernel=3, stride=2)

    _, ours, theirs = operator_cycles(device, _made((1, 3, 160, 160), build))
    assert ours[0] == pytest.approx(theirs[0], rel=0.01)


def _made(shape: tuple[int, ...], build: Any) -> bytes:
    b = Builder(dtype="int8", seed=1)
    b.output(build(b, b.input(shape)))
    return b.finish()
