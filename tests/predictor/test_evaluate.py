"""Evaluation from a database that was collected and trained on for real, and its report in a real browser."""

from __future__ import annotations

import html.parser
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from api.cli.main import run
from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.graph import read_graph
from perfsage.metrics import Metric
from perfsage.predictor import load_predictor
from perfsage.training import Example
from perfsage.training.evaluate_predictor import judge_predictor, training_split, without_device
from perfsage.training.evaluate_scores import Judged, scores_of
from perfsage.training.report import Part, html_report
from profilers.registry import describe

DEVICES = ("ethos-u55-128", "ethos-u55-256")
COUNT = 32


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two spaces measured by Vela, and a predictor trained on them for seconds."""
    folder = tmp_path_factory.mktemp("evaluation")
    common = ["--db", str(folder / "m.db"), *(part for name in DEVICES for part in ("--device", name))]
    spaces = ["--space", "kws", "--space", "super_resolution"]
    assert run(["collect", *spaces, "--count", str(COUNT), "--workers", "1", *common]) == 0
    training = ["--output", str(folder / "p"), "--epochs", "4", "--workers", "1"]
    assert run(["train", *common, *training]) == 0
    return folder


def evaluated(home: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[dict]:
    capsys.readouterr()
    assert run(["evaluate", "--predictor", str(home / "p"), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)["scores"]


def test_the_training_split_is_judged_again_with_the_same_figures(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = evaluated(home, capsys, "--db", str(home / "m.db"))
    stored = json.loads((home / "p" / "manifest.json").read_text())["evaluation"]
    now = {(s["device"], s["metric"], s["space"]): s for s in scores}
    assert stored
    for score in stored:
        again = now[score["device"], score["metric"], score["space"]]
        assert again["n"] == score["n"]
        assert again["mape"] == pytest.approx(score["mape"], rel=1e-4)
        assert again["coverage"] == pytest.approx(score["coverage"])
        assert {"mean", "costs", "ridge"} <= set(again["baseline_mape"])


def test_a_space_is_left_out(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--leave-out", "space", "--only", "super_resolution", "--time-limit", "3", "--baselines", "quick"]
    scores = evaluated(home, capsys, "--db", str(home / "m.db"), *more)
    latency = [s for s in scores if s["metric"] == "latency_ms"]
    assert {s["part"] for s in latency} == {"Without space super_resolution"}
    assert {s["n"] for s in latency} == {COUNT}


def test_a_device_is_left_out_and_predicted_from_its_parameters(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--leave-out", "device", "--only", DEVICES[1], "--time-limit", "3"]
    scores = evaluated(home, capsys, "--db", str(home / "m.db"), *more)
    assert {s["device"] for s in scores} == {DEVICES[1]}
    assert all(s["baseline_mape"] == {} for s in scores)


def test_models_in_a_folder_are_measured_and_reported(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for seed in (501, 502, 503):
        (models / f"{seed}.tflite").write_bytes(get_space("kws").build(seed, "int8").data)
    report = tmp_path / "report.html"
    more = ["--models", str(models), "--device", DEVICES[0], "--report", str(report)]
    scores = evaluated(home, capsys, *more)
    assert {(s["metric"], s["n"]) for s in scores} >= {("latency_ms", 3), ("peak_memory_bytes", 3)}
    assert "501" in report.read_text()


class Balance(html.parser.HTMLParser):
    VOID = ("meta", "line", "circle", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def judged() -> Judged:
    random = np.random.default_rng(0)
    truth = np.exp(random.normal(0, 2, 60))
    value = truth * np.exp(random.normal(0, 0.1, 60))
    return Judged(
        device="<script>alert(1)</script>",
        metric=Metric.LATENCY_MS,
        noise_floor_percent=None,
        truth=truth,
        value=value,
        low=value / 1.2,
        high=value * 1.2,
        baselines={"mean": np.full(60, 1.0)},
        spaces=("a",) * 30 + ("b",) * 30,
        families=tuple(f"family {i % 20}" for i in range(60)),
        operators=random.integers(1, 500, 60),
    )


def test_the_report_stands_alone_and_escapes_names() -> None:
    page = html_report("Title & more", {"a": "b<c"}, [Part("part", (judged(),))])
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert balance.links == []
    assert "<script" not in page
    assert page.count("<svg") == 3


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_draws_the_report(tmp_path: Path) -> None:
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(html_report("Report", {}, [Part("part", (judged(),))]), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000  # an empty page is a tenth of that


def test_scores_of_known_values() -> None:
    truth = np.array([1.0, 2.0, 4.0, 8.0])
    value = truth * [1.04, 0.93, 1.2, 1.0]
    known = Judged(
        device="d",
        metric=Metric.ENERGY_MJ,
        noise_floor_percent=0.5,
        truth=truth,
        value=value,
        low=value * 0.9,
        high=value * 1.1,
        baselines={"twice": 2 * truth},
        spaces=("s",) * 4,
        families=("f",) * 4,
        operators=np.arange(4),
    )
    (score,) = scores_of(known)
    assert (score.n, score.within_5, score.within_10) == (4, 0.5, 0.75)
    assert score.mape == pytest.approx(7.75)
    assert score.median_ape == pytest.approx(5.5)
    assert score.spearman == pytest.approx(1.0)
    assert score.coverage == 0.75
    assert score.baseline_mape == {"twice": pytest.approx(100.0)}


def test_the_device_left_out_has_no_labels_in_training(home: Path) -> None:
    predictor = load_predictor(home / "p")
    graphs = [read_graph(get_space("kws").build(seed, "int8").data) for seed in range(30)]
    labels = {(name, Metric.LATENCY_MS): 1.0 for name in DEVICES}
    examples = [Example(features=extract_features(graph), labels=labels) for graph in graphs]
    hidden, split = without_device(examples, describe(DEVICES[0]))
    assert all(
        (DEVICES[0], Metric.LATENCY_MS) not in hidden[i].labels for i in split.train + split.calibration
    )
    assert all((DEVICES[0], Metric.LATENCY_MS) in hidden[i].labels for i in split.test)
    parts = training_split(predictor, examples)
    assert not set(parts.train) & set(parts.test)
    found = judge_predictor(predictor, [], examples[:2], {}, {})
    assert {one.device for one in found} == set(DEVICES)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--leave-out", "space"],
        ["--db", "m.db", "--leave-out", "moon"],
        ["--db", "m.db", "--baselines", "some"],
        ["--models", "."],
    ],
)
def test_requests_that_make_no_sense_are_refused(
    home: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert run(["evaluate", "--predictor", "p", *arguments]) == 12
