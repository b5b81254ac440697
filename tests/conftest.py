"""Real models, a real database and a real predictor, as small as they can be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.support import PROGRAM, ROOT, Cli, Done

LONGEST_ID = 100


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name megabytes of input by their size: pytest puts a test's name into the environment of processes."""
    if isinstance(val, bytes | str) and len(val) > LONGEST_ID:
        return f"{argname}-of-{len(val)}"
    return None


@pytest.fixture(scope="session")
def program() -> Cli:
    """Run a command line in a process of its own."""

    def call(*arguments: object, **options: Any) -> Done:
        command = [*PROGRAM, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, **options)
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An int8 and a float32 network of the keyword spotting space, as files."""
    from dataset.spaces import get_space

    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for dtype in ("int8", "float32"):
        paths[dtype] = folder / f"kws_{dtype}.tflite"
        paths[dtype].write_bytes(get_space("kws").build(3, dtype).data)
    return paths


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, program: Cli) -> Path:
    """A folder with what a user's first two commands leave: `kws.db` and `predictor`."""
    folder = tmp_path_factory.mktemp("trained")
    # One thread: with more threads than free cores, small networks train many times slower.
    env = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    database = ("--db", folder / "kws.db")
    space = ("--space", "kws", "--count", 200, "-d", "tflm", "-d", "ethos-u55-128")
    collected = program("collect", *space, *database, "--json", env=env)
    assert collected.json["measured"] + collected.json["skipped"] == 400, collected.err
    done = program("train", *database, "-o", folder / "predictor", "--epochs", 2, "--json", env=env)
    assert done.code == 0, done.err
    assert done.json["graphs"]["train"] > 20
    return folder


@pytest.fixture(scope="session")
def predictor(trained: Path) -> Path:
    """The folder of a predictor that knows tflm and ethos-u55-128, trained for seconds."""
    return trained / "predictor"
