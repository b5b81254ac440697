"""The examples run to the end: one over HTTP, the others in their own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.service import serving
from tests.api.support import ROOT

SMALL = ("--candidates", "12", "--batch", "6")
WIDE = ("--budget", "ethos-u55-128:latency_ms<=1000", "--budget", "tflm:peak_memory_bytes<=1MiB")


def run(name: str, *arguments: str) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / "nas" / f"{name}.py"), *SMALL, *WIDE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["evolution_kws", "pymoo_fbnet"])
def test_an_example_asks_a_predictor(name: str, predictor: Path) -> None:
    pytest.importorskip("pymoo")
    said = run(name, "--predictor", str(predictor))
    assert re.search(r"NASWOT [\d.]+ \(a proxy, no accuracy\)", said)
    assert re.search(r"latency_ms on ethos-u55-128: [\d.]+ ms", said)


def test_an_example_asks_a_service(predictor: Path) -> None:
    pytest.importorskip("optuna")
    with serving(predictor) as client:
        said = run("optuna_nasbench201", "--url", str(client.base_url))
        counts = client.get("/metrics").text
    assert re.search(r"^\|\S+~0\|\+\|", said, re.MULTILINE)
    assert 'perfsage_models_total{outcome="predicted"}' in counts
