"""A real service in a process of its own, on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
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


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def metric(client: httpx.Client, name: str) -> float:
    """Return a metric by its name and labels, as Prometheus writes them; 0 while there is none."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[-1]) if lines else 0.0


@contextlib.contextmanager
def leaving(client: httpx.Client, body: bytes, length: int | None = None) -> Iterator[None]:
    """Send a request for predictions, or the beginning of one of that length; leave when the block ends."""
    address = (client.base_url.host, client.base_url.port or 80)
    head = f"POST /v1/predictions HTTP/1.1\r\nHost: here\r\nContent-Length: {length or len(body)}\r\n"
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        yield
