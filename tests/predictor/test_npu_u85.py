"""What U85 alone does in its own way, beside what Vela says of it."""

from __future__ import annotations

from typing import Any

import pytest

from dataset.builder import Builder
from tests.predictor.npu import operator_cycles

OPERATORS: dict[str, tuple[tuple[int, ...], Any]] = {
    "without a window": ((1, 8, 8, 256), lambda b, x: b.depthwise(b.conv(x, 768), kernel=1)),
    "blocks that fit equally well": ((1, 20, 20, 96), lambda b, x: b.mean(b.conv(x, 96))),
    "a far stride with padding": (
        (1, 128, 128, 3),
        lambda b, x: b.conv(b.conv(x, 24, kernel=5, stride=4), 8),
    ),
    "a part of a concatenation": (
        (1, 80, 60, 2),
        lambda b, x: b.concat([b.quantize(b.conv(x, 2)), b.quantize(b.conv(x, 2))], axis=1),
    ),
}


@pytest.mark.parametrize("device", ["ethos-u85-128", "ethos-u85-256"])
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_take_as_long_as_vela_says(device: str, name: str) -> None:
    _, ours, theirs = operator_cycles(device, _made(*OPERATORS[name]))
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.02)


def test_arithmetic_follows_rows_that_are_an_image_but_not_a_single_row_of_them() -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.add(x, b.fully_connected(x, 72))

    for rows, alone in ((98, True), (97, False)):
        _, ours, theirs = operator_cycles("ethos-u85-256", _made((1, rows, 72), build))
        assert (theirs[1] > 0) == (ours[1] > 1) == alone
        assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.05)


def test_a_transpose_that_only_moves_sides_of_one_takes_nothing() -> None:
    def build(b: Builder, x: Any) -> Any:
        y = b.transpose(b.conv(x, 32), (0, 2, 1, 3))
        return b.conv(b.transpose(y, (0, 2, 1, 3)), 16)

    types, ours, theirs = operator_cycles("ethos-u85-256", _made((1, 49, 1, 32), build))
    rows = (types == "TRANSPOSE").nonzero()[0].tolist()
    assert rows and all(theirs.get(row, 0) == 0 and ours[row] <= 1 for row in rows)


@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_weights_with_many_zeros_are_skipped(sparsity: float) -> None:
    b = Builder(dtype="int8", seed=3, sparsity=sparsity)
    b.output(b.conv(b.conv(b.input((1, 64, 64, 16)), 4, kernel=5), 8, kernel=3))
    _, ours, theirs = operator_cycles("ethos-u85-256", b.finish())
    assert ours[1] == pytest.approx(theirs[1], rel=0.02)


def _made(shape: tuple[int, ...], build: Any) -> bytes:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    return b.finish()
