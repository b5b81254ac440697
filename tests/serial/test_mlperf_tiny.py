"""MLPerf Tiny's runs on the virtual board, with networks of the reference networks' shapes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset.builder import Builder
from perfsage.errors import InvalidInputError, StableDeviceError
from profilers.serial.accuracy import Answer, mean_auc, top1
from profilers.serial.emulate import EmulatedPort, start_tflm
from profilers.serial.errors import BoardCannotRunError
from profilers.serial.mlperf_results import Result, RunMode
from profilers.serial.mlperf_tiny import run_mlperf_tiny
from tests.serial.peers import Between


def keyword_network() -> bytes:
    b = Builder(dtype="int8", seed=3)
    x = b.conv(b.input((1, 49, 10, 1)), 8, kernel=(10, 4), stride=2, activation="relu")
    b.output(b.softmax(b.fully_connected(b.mean(x), 12)))
    return b.finish()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "kws01.tflite").write_bytes(keyword_network())
    return folder


def test_performance(tmp_path: Path, models: Path, board: EmulatedPort) -> None:
    (result,) = run_mlperf_tiny(
        f"serial:{board.address}", results=tmp_path / "out", models=models, networks=["kws"], window_s=0.02
    )
    assert result.folder == tmp_path / "out" / "perfsage-tflm" / "kws" / "performance"
    assert len(result.samples) == 5 and result.iterations >= 10
    assert result.simulated and not result.rules_met
    text = (result.folder / "results.txt").read_text()
    assert text.count("Performance results for window") == 5
    assert "SIMULATED" in text and "Median throughput is" in text
    assert json.loads((result.folder / "results.json").read_text())["benchmark"] == "kws"
    assert "> infer" in (result.folder / "log.txt").read_text()


def test_accuracy(tmp_path: Path, models: Path, board: EmulatedPort) -> None:
    folder = tmp_path / "data" / "kws01"
    folder.mkdir(parents=True)
    rows = []
    for number in range(4):
        (folder / f"{number}.bin").write_bytes(np.random.default_rng(number).bytes(490))
        rows.append(f"{number}.bin, 12, {number % 2}\n")
    (folder / "y_labels.csv").write_text("".join(rows))
    (result,) = run_mlperf_tiny(
        f"serial:{board.address}",
        results=tmp_path / "out",
        models=models,
        dataset=tmp_path / "data",
        networks=["kws01"],
        mode=RunMode.ACCURACY,
    )
    assert result.answers == 4
    assert result.top1 is not None and 0 <= result.top1 <= 1
    assert "Top 1% =" in (result.folder / "results.txt").read_text()


def test_firmware_runs_the_network_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "kws.tflite"
    path.write_bytes(keyword_network())
    with start_tflm(extension=False, model=path, model_name="kws01") as port:
        (result,) = run_mlperf_tiny(f"serial:{port.address}", results=tmp_path / "out", window_s=0.02)
        assert result.benchmark == "kws"
        with pytest.raises(StableDeviceError, match="holds the network"):
            run_mlperf_tiny(f"serial:{port.address}", results=tmp_path, networks=["ic"])
        with pytest.raises(StableDeviceError, match="performance mode"):
            run_mlperf_tiny(f"serial:{port.address}", results=tmp_path, mode=RunMode.ENERGY)


def test_a_network_that_fails_does_not_keep_the_others(tmp_path: Path, models: Path) -> None:
    b = Builder(dtype="int8", seed=3)
    b.output(b.softmax(b.fully_connected(b.mean(b.conv(b.input((1, 32, 32, 3)), 64)), 10)))
    (models / "ic01.tflite").write_bytes(b.finish())
    found: list[Result] = []
    with start_tflm(arena_bytes=40_000) as port, pytest.raises(BoardCannotRunError, match="px-arena"):
        run_mlperf_tiny(
            f"serial:{port.address}",
            results=tmp_path / "out",
            models=models,
            networks=["ic", "kws"],
            window_s=0.02,
            on_result=found.append,
        )
    assert [result.benchmark for result in found] == ["kws"]


def test_a_fault_of_the_line_costs_a_try(tmp_path: Path, models: Path, board: EmulatedPort) -> None:
    wire = Between(board.address)
    spoilt: list[bytes] = []

    def lose_a_timestamp(data: bytes) -> bytes:
        if not spoilt and b"m-lap-us-" in data:
            spoilt.append(data)
            return data.replace(b"m-infer-done", b"m-in")
        return data

    wire.to_host = lose_a_timestamp
    wire.start()
    (result,) = run_mlperf_tiny(
        f"serial:{wire.path}", results=tmp_path / "out", models=models, networks=["kws"], window_s=0.02
    )
    wire.close()
    assert spoilt and len(result.samples) == 5


def test_wrong_requests_are_named(tmp_path: Path, models: Path, board: EmulatedPort) -> None:
    device = f"serial:{board.address}"
    with pytest.raises(InvalidInputError, match="no file of ic01"):
        run_mlperf_tiny(device, results=tmp_path, models=models, networks=["ic"])
    with pytest.raises(InvalidInputError, match="there is no network"):
        run_mlperf_tiny(device, results=tmp_path, models=models, networks=["bert"])
    with pytest.raises(InvalidInputError, match="--models"):
        run_mlperf_tiny(device, results=tmp_path)


def test_scores() -> None:
    answers = [Answer("a", 0, (0.9, 0.1)), Answer("b", 1, (0.4, 0.6)), Answer("c", 1, (0.7, 0.3))]
    assert top1(answers) == pytest.approx(2 / 3)
    assert mean_auc(answers) == pytest.approx(1.0)
    anomalies = [Answer("a", 0, (1.0,)), Answer("b", 1, (3.0,)), Answer("c", 1, (1.0,))]
    assert mean_auc(anomalies) == pytest.approx(0.75)
    assert mean_auc([Answer("a", 0, (1.0, 0.0))]) is None
