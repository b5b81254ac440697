"""Models for the tests of profilers: some of our own, and real files where they are present."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from dataset.builder import Builder, Dtype
from perfsage.graph import read_graph
from profilers.profiler import Model

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "models"


def model(data: bytes) -> Model:
    return Model(data, read_graph(data))


@cache
def keyword_spotter(dtype: Dtype = "int8") -> Model:
    """A network like the keyword spotter of MLPerf Tiny: 13 operators, 5 kinds."""
    b = Builder(dtype=dtype, seed=7)
    x = b.conv(b.input((1, 49, 10, 1)), 64, kernel=(10, 4), stride=2, activation="relu")
    for _ in range(4):
        x = b.conv(b.depthwise(x, kernel=(3, 3), activation="relu"), 64, kernel=(1, 1), activation="relu")
    b.output(b.softmax(b.fully_connected(b.mean(x), 12)))
    return model(b.finish())


@cache
def small(dtype: Dtype = "int8", seed: int = 1) -> Model:
    """Three operators of a known kind: CONV_2D, MEAN, FULLY_CONNECTED, then SOFTMAX."""
    b = Builder(dtype=dtype, seed=seed)
    x = b.conv(b.input((1, 16, 16, 3)), 8, kernel=(3, 3), stride=2, activation="relu6")
    b.output(b.softmax(b.fully_connected(b.mean(x), 10)))
    return model(b.finish())


def real(name: str) -> Model:
    """A real file by the beginning of its name; skips the test where it is not present."""
    found = sorted(REAL.glob(f"{name}*"))
    if not found:
        pytest.skip(f"{name} is not here: real models lie in {REAL.name} beside the checkout")
    return model(found[0].read_bytes())
