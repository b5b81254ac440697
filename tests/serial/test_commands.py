"""The two commands, run as they are wired: `lab emulate` and `mlperf-tiny`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import typer

pytest.importorskip("api.cli.help")

from typer.testing import CliRunner

from api.cli import mlperf_tiny
from profilers.serial.emulate import EmulatedPort
from profilers.serial.link import Link
from tests.api.support import PROGRAM
from tests.serial.test_board import children
from tests.serial.test_mlperf_tiny import keyword_network

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_emulate_prints_an_address_that_answers(ending: signal.Signals) -> None:
    code = (
        "import typer; from api.cli import emulate; app = typer.Typer(); emulate.register(app);"
        "app.callback()(lambda: None); app(['emulate', 'tflm'])"
    )

    def heed_interrupts() -> None:  # a shell's background jobs ignore them
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ},
        preexec_fn=heed_interrupts,
    )
    # Whatever goes wrong below, the line that is waited for ends with the process.
    watchdog = threading.Timer(60.0, process.kill)
    watchdog.start()
    assert process.stdout is not None
    try:
        found = re.match(r"serial:(/dev/\S+)", process.stdout.readline())
        assert found is not None
        link = Link(found[1])
        link.open()
        assert link.command("name").find("perfsage-tflm")
        link.close()
        (emulator,) = children(process.pid)
        process.send_signal(ending)
        process.wait(10)
        assert not Path(f"/proc/{emulator}").exists()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait(10)
        process.stdout.close()


def perfsage(*words: object) -> dict[str, Any]:
    command = [*PROGRAM, *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_profile_and_collect_use_a_board_like_any_device(tmp_path: Path, board: EmulatedPort) -> None:
    device = f"serial:{board.address}"
    (tmp_path / "kws.tflite").write_bytes(keyword_network())
    text = json.dumps(perfsage("profile", tmp_path / "kws.tflite", "--device", device))
    assert device in text and "median_of_windows" in text
    words = ("--space", "kws", "--count", 2, "--device", device, "--db", tmp_path / "labels.db")
    assert perfsage("collect", *words)["measured"] == 2


def test_mlperf_tiny(tmp_path: Path, board: EmulatedPort) -> None:
    (tmp_path / "kws01.tflite").write_bytes(keyword_network())
    app = typer.Typer()
    mlperf_tiny.register(app)
    words = ["--device", f"serial:{board.address}", "--models", str(tmp_path), "--network", "kws"]
    words += ["--window-s", "0.02", "--out", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["results"]
    assert found["benchmark"] == "kws" and len(found["windows"]) == 5
    assert Path(found["folder"], "results.txt").is_file()
