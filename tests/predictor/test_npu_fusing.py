"""Functions of few channels, which Vela does not do on the way out of what looks at several elements."""

from __future__ import annotations

from typing import Any

import pytest

from dataset.builder import Builder
from perfsage.features import extract_features
from perfsage.graph import read_graph
from tests.predictor.npu import operator_cycles

NETWORKS = {
    "an option": lambda b, x: b.conv(b.conv(x, 4, kernel=3, activation="relu"), 32),
    "an operator": lambda b, x: b.conv(b.hard_swish(b.conv(x, 4, kernel=3)), 32),
    "part of a concatenation": lambda b, x: b.concat([b.conv(x, 4, activation="relu"), b.conv(x, 12)]),
    "enough channels": lambda b, x: b.conv(b.conv(x, 8, kernel=3, activation="relu"), 32),
}


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u55-128", "ethos-u65-256", "ethos-u85-128"])
@pytest.mark.parametrize("name", NETWORKS)
def test_activations_take_as_long_as_vela_says(device: str, name: str) -> None:
    _, ours, theirs = operator_cycles(device, _made(NETWORKS[name]))
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.01)


def _made(build: Any) -> bytes:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input((1, 60, 80, 16))))
    return b.finish()


def test_an_activation_of_its_own_is_read_and_written_in_rows() -> None:
    features = extract_features(read_graph(_made(NETWORKS["an option"])))
    assert features.cost("block_live_bytes")[0] == 60 * 80 * (16 + 4)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u55-256", "ethos-u65-512", "ethos-u85-1024"])
def test_a_convolution_in_pieces_takes_as_long_as_vela_says(device: str) -> None:
    def build(b: Builder, x: Any) -> Any:
        y = b.conv(x, 32, kernel=3, stride=4, padding="valid", activation="relu")
        return b.conv(y, 16)

    _, ours, theirs = operator_cycles(device, _made(build))
    assert ours[0] == pytest.approx(theirs[0], rel=0.03)


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u55-128", "ethos-u55-256", "ethos-u85-256"])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_an_activation_follows_the_convolutions_of_all_groups(device: str, activation: Any) -> None:
    def build(b: Builder, x: Any) -> Any:
        return b.conv(b.conv(b.conv(x, 32), 64, kernel=1, groups=2, activation=activation), 16)

    _, ours, theirs = operator_cycles(device, _made(build))
    assert ours[1] == pytest.approx(theirs[1], rel=0.03)


def test_nothing_is_done_while_convolutions_of_groups_are_written() -> None:
    def build(b: Builder, x: Any) -> Any:
        y = b.conv(x, 32)
        return b.conv(b.add(b.conv(y, 32, kernel=1, groups=2), y), 16)

    _, ours, theirs = operator_cycles("ethos-u85-256", _made(build))
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.01)
    assert ours[2] == pytest.approx(theirs[2], rel=0.02)
