"""The labels that ship with the repository are readable, and are what the tools say of the networks today."""

from contextlib import closing
from pathlib import Path

import pytest

from dataset.labels_reading import read_labels
from dataset.spaces import get_space
from perfsage.graph import read_graph
from profilers import open_profiler
from profilers.profiler import Model, Plan

PUBLISHED = Path(__file__).parents[2] / "dataset" / "published"


@pytest.mark.parametrize("device", ["ethos-u55-128", "tflm"])
def test_published_labels_are_the_tools_own(device: str) -> None:
    labels = read_labels(PUBLISHED)
    assert len(labels) > 100_000
    rows = labels[(labels["device"] == device) & labels["value"].notna()]
    for space, part in rows[rows["dtype"] == "int8"].groupby("space"):
        seed = int(part["seed"].min())
        data = get_space(str(space)).build(seed, "int8").data
        with closing(open_profiler(device)) as profiler:
            [outcome] = profiler.profile([Model(data, read_graph(data))], Plan())
        measured = {(m.metric.value, m.definition): m.value for m in outcome.measurements}
        for row in part[part["seed"] == seed].itertuples():
            assert measured[row.metric, row.definition] == pytest.approx(row.value, rel=1e-6)
