"""Depthwise convolutions with a multiplier, beside what Vela says of them."""

from __future__ import annotations

import pytest

from benchmarks.npu_formulas import ours, vela
from dataset.builder import Builder
from perfsage.features import extract_features
from perfsage.graph import read_graph
from tests.predictor.npu import operator_cycles


def _multiplied(height: int, channels: int, multiplier: int) -> bytes:
    b = Builder(dtype="int8", seed=3)
    x = b.conv(b.input((1, height, 20, channels)), channels)
    x = b.depthwise(x, kernel=(min(height, 3), 3), multiplier=multiplier)
    b.output(b.conv(x, 8, kernel=1))
    return b.finish()


@pytest.mark.parametrize("sizes", [(24, 8, 4), (1, 16, 2)])
@pytest.mark.parametrize(
    ("device", "within"), [("ethos-u55-32", 1e-3), ("ethos-u55-128", 1e-3), ("ethos-u85-256", 0.06)]
)
def test_multiples_are_convolutions_and_exchanges(
    device: str, within: float, sizes: tuple[int, int, int]
) -> None:
    types, made, theirs = operator_cycles(device, _multiplied(*sizes))
    row = list(types).index("DEPTHWISE_CONV_2D")
    assert made[row] == pytest.approx(theirs[row], rel=within, abs=1)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
def test_exchanges_need_two_tensors(device: str) -> None:
    data = _multiplied(24, 8, 4)
    _, live, *_ = ours(device, extract_features(read_graph(data)))
    theirs = vela(device, data)
    assert theirs is not None
    assert live == pytest.approx(theirs[1], rel=0.02)
