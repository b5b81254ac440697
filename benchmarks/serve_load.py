"""The load generator of benchmarks/serve.py: HTTP/1.1 over plain sockets, so that it costs little itself.

Runs as a process of its own; prints one JSON object a phase on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path


class Connection:
    """One keep-alive connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> int:
        """Send a request, read its whole answer, and return its status; 0 for a lost connection."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._address, limit=1 << 24)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    await reader.readexactly(int(line[15:]))
            if b"connection: close" in head.lower():
                self.close()
            return int(head[9:12])
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request_of(body: bytes, media_type: str) -> bytes:
    """Return a whole POST of predictions."""
    head = (
        f"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nAccept: {media_type}\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def run(
    host: str, port: int, requests: list[bytes], seconds: float, connections: int, rate: float
) -> dict[str, object]:
    """Send requests in turn for some seconds: as fast as answers come, or at `rate` a second in all."""
    answers: list[tuple[int, float]] = []
    end = time.perf_counter() + seconds
    turn = 0

    async def work(number: int) -> None:
        nonlocal turn
        connection = Connection(host, port)
        due = time.perf_counter() + (number / rate if rate else 0.0)
        while time.perf_counter() < end:
            if rate:
                await asyncio.sleep(max(due - time.perf_counter(), 0.0))
                due = max(due + connections / rate, time.perf_counter() - 1.0)
            request = requests[turn % len(requests)]
            turn += 1
            began = time.perf_counter()
            status = await connection.send(request)
            answers.append((status, time.perf_counter() - began))
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(connections)))
    elapsed = time.perf_counter() - began
    return {"elapsed_s": elapsed, "answers": answers}


def summary(found: dict[str, object], models_per_request: int) -> dict[str, object]:
    """Return counts by status, rates, and percentiles of the answers with status 200."""
    answers: list[tuple[int, float]] = found["answers"]  # type: ignore[assignment]
    elapsed = float(found["elapsed_s"])  # type: ignore[arg-type]
    good = sorted(seconds for status, seconds in answers if status == 200)
    statuses: dict[int, int] = {}
    for status, _ in answers:
        statuses[status] = statuses.get(status, 0) + 1
    place = {q: good[min(int(q / 100 * len(good)), len(good) - 1)] if good else None for q in (50, 99)}
    return {
        "requests_per_s": len(good) / elapsed,
        "models_per_s": len(good) * models_per_request / elapsed,
        "sent_per_s": len(answers) / elapsed,
        "p50_ms": place[50] and 1e3 * place[50],
        "p99_ms": place[99] and 1e3 * place[99],
        "statuses": statuses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("bodies", type=Path, help="a folder; each file is a request's body")
    parser.add_argument("--media-type", default="application/vnd.msgpack")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--models", type=int, default=1, help="models in each request")
    arguments = parser.parse_args()
    host, _, port = arguments.address.partition(":")
    bodies = [path.read_bytes() for path in sorted(arguments.bodies.iterdir())]
    requests = [request_of(body, arguments.media_type) for body in bodies]
    found = asyncio.run(
        run(host, int(port), requests, arguments.seconds, arguments.connections, arguments.rate)
    )
    json.dump(summary(found, arguments.models), sys.stdout)


if __name__ == "__main__":
    main()
