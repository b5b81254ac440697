"""Networks for the tests on phones."""

from __future__ import annotations

from pathlib import Path

from perfsage.graph import read_graph
from profilers.profiler import Model

SHARED = Path(__file__).parents[3] / "shared" / "data" / "models"


def load(path: Path) -> Model:
    data = path.read_bytes()
    return Model(data, read_graph(data), path)
