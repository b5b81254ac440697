"""Devices that a database has measurements of, added to a predictor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.cli.main import run
from dataset.spaces.known import known_space
from perfsage.graph import read_graph
from perfsage.graph.costs import graph_macs
from perfsage.metrics import Metric
from perfsage.prediction import Interval
from perfsage.predictor import Predictor, load_predictor
from perfsage.training.evaluate_predictor import judged_share
from perfsage.training.splits import hash_share


def _latency_ms(blocks: str) -> float:
    """The law of a made-up phone, so that the truth is known: an overhead, and 2 GMACs a second."""
    macs, _ = graph_macs(read_graph(known_space("fbnet").parse(blocks).build("float32").data))
    return 1.0 + macs / 2e6


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    space = known_space("fbnet")
    return [str(space.sample(seed)["text"]) for seed in range(14)]


@pytest.fixture(scope="module")
def database(blocks: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phones")
    rows = [f"{each},{_latency_ms(each)},{3 * _latency_ms(each)},1" for each in blocks[:10]]
    table = folder / "table.csv"
    table.write_text("\n".join(["ops,one_latency_ms,other_latency_ms,tflm_latency_ms", *rows]))
    arguments = ["import-source", "table", str(table), "--licence", "MIT", "--db", str(folder / "phones.db")]
    assert run(["dataset", *arguments]) == 0
    return folder / "phones.db"


def _adapt(predictor: Predictor, database: Path, output: Path, *arguments: str) -> int:
    common = ["--predictor", str(predictor.folder), "--db", str(database), "--output", str(output)]
    return run(["adapt", *common, *arguments])


def test_devices_are_learned_from_what_was_imported(
    predictor: Predictor,
    blocks: list[str],
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _adapt(predictor, database, tmp_path / "p", "-d", "one", "-d", "other", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    learned = {device["device"]: device["metrics"]["latency_ms"]["n"] for device in document["devices"]}
    ids = [
        read_graph(known_space("fbnet").parse(each).build("float32").data).graph_id for each in blocks[:10]
    ]
    judged = sum(hash_share(graph_id) < judged_share(predictor) for graph_id in ids)
    assert learned == {"one": 10 - judged, "other": 10 - judged}
    loaded = load_predictor(tmp_path / "p")
    assert "(MIT)" in next(device for device in loaded.devices if device.name == "one").source
    new = blocks[10:]
    models = [known_space("fbnet").parse(each).build("float32").data for each in new]
    for prediction, each in zip(loaded.predict(models, ["one"]).predictions, new, strict=True):
        latency = prediction.metrics[Metric.LATENCY_MS]
        assert isinstance(latency, Interval)
        assert latency.value == pytest.approx(_latency_ms(each), rel=0.1)


def test_as_many_networks_are_read_as_asked_for(
    predictor: Predictor, database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _adapt(predictor, database, tmp_path / "p", "-d", "one", "--count", "6", "--json") == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["metrics"]["latency_ms"]["n"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "nobody"], "no device 'nobody'"),
        (["-d", "one", "-d", "tflm"], "was trained for a device called 'tflm'"),
        (["-d", "one", "--measurements", "table.csv"], "device is learned from a CSV file"),
        (["-d", "one", "-d", "other", "--count", "4"], "count"),
    ],
)
def test_what_cannot_be_learned_is_said(
    arguments: list[str],
    message: str,
    predictor: Predictor,
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _adapt(predictor, database, tmp_path / "never", *arguments) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "never").exists()
