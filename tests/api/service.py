"""A real service in a process of its own, on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx

from tests.api.support import PROGRAM, ROOT

START_SECONDS = 60.0


@contextlib.contextmanager
def serving(predictor: Path, **settings: object) -> Iterator[httpx.Client]:
    """Run `perfsage serve` on a free port; settings become environment variables."""
    with serving_process(predictor, **settings) as (_, client):
        yield client


@contextlib.contextmanager
def serving_process(
    predictor: Path, *, log: Path | None = None, **settings: object
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Like `serving`, with the process; what it logs once it runs goes to the file `log`."""
    env = os.environ | {f"PERFSAGE_{name.upper()}": str(value) for name, value in settings.items()}
    command = [*PROGRAM, "serve", "--port", "0", "--predictor", str(predictor)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=_address(process, log), timeout=30) as client:
                yield process, client
        finally:
            process.terminate()
            process.wait(timeout=30)


def _address(process: subprocess.Popen[str], log: Path | None) -> str:
    assert process.stderr is not None
    deadline, lines = time.monotonic() + START_SECONDS, []
    while time.monotonic() < deadline and (line := process.stderr.readline()):
        lines.append(line)
        if found := re.search(r"running on (http://\S+)", line):
            threading.Thread(target=_drain, args=(process.stderr, log), daemon=True).start()
            return found[1]
    raise AssertionError(f"the service did not start: {''.join(lines)}")


def _drain(stream: IO[str], log: Path | None) -> None:
    with log.open("w") if log else contextlib.nullcontext() as file:
        for line in stream:
            if file is not None:
                file.write(line)
                file.flush()
