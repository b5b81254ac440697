"""Networks worth measuring: they must tell more than networks drawn at random, and cost less."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from api.cli.main import run
from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.graph import read_graph
from perfsage.predictor import Predictor
from perfsage.training.suggest import predicted_costs, suggest


def suggested(predictor: Predictor, capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    arguments = ["suggest", "--predictor", str(predictor.folder), "--space", "kws", "--json", *more]
    assert run(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_the_files_named_can_be_read(
    predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "to-measure"
    answer = suggested(predictor, capsys, "--count", "4", "--candidates", "12", "--output", str(output))
    networks = answer["networks"]
    assert len({network["seed"] for network in networks}) == 4
    for network in networks:
        data = Path(network["path"]).read_bytes()
        assert data == get_space("kws").build(network["seed"], "int8").data
        assert network["architecture"] == json.loads(json.dumps(get_space("kws").sample(network["seed"])))
        assert network["gain"] > 0
        assert network["cost_ms"] > 0


def test_the_choice_is_the_same_every_time(predictor: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    first = suggested(predictor, capsys, "--count", "3", "--candidates", "10")
    assert first == suggested(predictor, capsys, "--count", "3", "--candidates", "10")


def test_what_is_chosen_is_cheaper_than_the_average(predictor: Predictor) -> None:
    features = [extract_features(read_graph(get_space("kws").build(seed, "int8").data)) for seed in range(40)]
    chosen = suggest(predictor, features, 8)
    costs = predicted_costs(predictor, features)
    assert np.mean([one.cost_ms for one in chosen]) < costs.mean()
    assert [costs[one.index] for one in chosen] == [one.cost_ms for one in chosen]


def test_a_network_tells_little_the_second_time(predictor: Predictor) -> None:
    features = [extract_features(read_graph(get_space("kws").build(seed, "int8").data)) for seed in (1, 2)]
    chosen = suggest(predictor, [features[0], features[0], features[1]], 3)
    assert {one.index for one in chosen[:2]} in ({0, 2}, {1, 2})
    assert chosen[2].gain < chosen[0].gain


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--count", "9", "--candidates", "4"], 12),
        (["--count", "1", "--candidates", "1000000"], 12),
        (["--count", "1", "--dtype", "int3"], 12),
    ],
)
def test_impossible_requests_are_refused(predictor: Predictor, arguments: list[str], status: int) -> None:
    assert run(["suggest", "--predictor", str(predictor.folder), "--space", "kws", *arguments]) == status


def test_unknown_spaces_are_refused(predictor: Predictor) -> None:
    assert run(["suggest", "--predictor", str(predictor.folder), "--space", "moon", "--count", "1"]) == 11
