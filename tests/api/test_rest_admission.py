"""Who the service lets in: small and large requests have places of their own, and refusing costs little."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgpack
import pytest

from api.rest.admission import MAX_ARRIVING, SMALL_BYTES, Admission, Lane, Ticket
from api.rest.errors import Refusal
from api.rest.metrics import Metrics
from api.rest.protocol import Yielding
from api.rest.settings import Settings
from perfsage.graph import strip_weights
from tests.api.service import metric, serving, until

pytestmark = pytest.mark.xdist_group("trained")
POST = "/v1/predictions"
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def client(predictor: Path) -> Iterator[httpx.Client]:
    with serving(predictor, max_waiting=0) as client:
        yield client


@pytest.fixture(scope="module")
def small(models: dict[str, Path]) -> bytes:
    return strip_weights(models["int8"].read_bytes())


@pytest.fixture(scope="module")
def large(small: bytes) -> bytes:
    return small.ljust(SMALL_BYTES + 1, b"\0")


@contextlib.contextmanager
def held(client: httpx.Client, length: int) -> Iterator[list[socket.socket]]:
    """Yield as many connections as may arrive, each with a request that waits for the rest of its body."""
    address = (client.base_url.host, client.base_url.port or 80)
    head = f"POST {POST} HTTP/1.1\r\nHost: held\r\nContent-Length: {length}\r\n"
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(MAX_ARRIVING + 1):
            connection = stack.enter_context(socket.create_connection(address, timeout=30))
            connection.sendall(f"{head}Content-Type: {RAW['Content-Type']}\r\n\r\nTFL3".encode())
            connections.append(connection)
        until(lambda: f"perfsage_waiting {MAX_ARRIVING + 1}.0" in client.get("/metrics").text)
        yield connections
    until(lambda: "perfsage_waiting 0.0" in client.get("/metrics").text)


def check_busy(client: httpx.Client, answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "where", "hint"}
    assert (body["type"], body["instance"]) == ("/errors/busy", POST)
    assert answer.headers["Retry-After"] == "1" and body["hint"] == "Try again after a second."
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get(body["type"]).text.startswith(f"# {body['title']}\n")


def test_a_busy_service_says_so_and_recovers(client: httpx.Client, small: bytes) -> None:
    before = shed(client)
    with held(client, 8) as [waiting, *_]:
        answer = client.post(POST, content=small, headers=RAW | {"X-Request-Id": "mine"})
        check_busy(client, answer)
        assert answer.headers["X-Request-Id"] == "mine"
        assert shed(client) == before + 1
        waiting.sendall(b"TFL3")
        assert waiting.recv(1 << 16).startswith(b"HTTP/1.1 422")
        assert client.post(POST, content=small, headers=RAW).status_code == 200


def shed(client: httpx.Client) -> float:
    return metric(client, "perfsage_shed_total")


def test_small_and_large_requests_do_not_take_each_others_places(
    client: httpx.Client, small: bytes, large: bytes
) -> None:
    with held(client, 8):
        assert client.post(POST, content=large, headers=RAW).status_code == 422
    with held(client, SMALL_BYTES + 1):
        check_busy(client, client.post(POST, content=large, headers=RAW))
        # A body whose size is not said beforehand may be large.
        check_busy(client, client.post(POST, content=iter([small]), headers=RAW))
        assert client.post(POST, content=small, headers=RAW).status_code == 200


def test_a_connection_goes_on_behind_a_refusal(client: httpx.Client, small: bytes) -> None:
    address = (client.base_url.host, client.base_url.port or 80)
    with held(client, 8), socket.create_connection(address, timeout=30) as other:
        head = f"POST {POST}?metric=latency_ms HTTP/1.1\r\nHost: x\r\nContent-Length: {len(small)}\r\n"
        whole = f"{head}Content-Type: {RAW['Content-Type']}\r\n\r\n".encode() + small
        for part in (
            whole[:-100],
            whole[-100:],
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ):
            other.sendall(part)
            time.sleep(0.05)
        answers = b"".join(iter(lambda: other.recv(1 << 16), b""))
        assert answers.startswith(b"HTTP/1.1 503 ") and b"HTTP/1.1 200 OK" in answers


def test_a_refused_body_is_not_waited_for(predictor: Path) -> None:
    head = f"POST {POST} HTTP/1.1\r\nHost: x\r\nContent-Type: {RAW['Content-Type']}\r\nContent-Length: 9\r\n"
    with serving(predictor, max_waiting=0, max_header_seconds=3) as client, held(client, 8):
        address = (client.base_url.host, client.base_url.port or 80)
        with (
            socket.create_connection(address, timeout=30) as slow,
            socket.create_connection(address, timeout=30) as expecting,
        ):
            slow.sendall(f"{head}\r\nTFL".encode())
            expecting.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            answer = b"".join(iter(lambda: expecting.recv(1 << 16), b""))
            assert answer.startswith(b"HTTP/1.1 503 ") and b"Connection: close" in answer
            assert slow.recv(1 << 16).startswith(b"HTTP/1.1 503 ")
            with contextlib.suppress(ConnectionResetError):
                assert slow.recv(1) == b""


def test_requests_that_are_not_predicted_give_their_place_back(client: httpx.Client, small: bytes) -> None:
    for answer in (
        client.post(POST, content=small, headers=RAW, params={"nothing": "1"}),
        client.post(POST, content=small, headers={"Content-Type": "text/plain"}),
        client.post(POST, content=small, headers=RAW, params={"device": "abacus"}),
    ):
        assert answer.status_code in (415, 422)
    assert client.post(POST, content=small, headers=RAW).status_code == 200


def test_a_batch_lets_small_requests_in_between(predictor: Path, small: bytes) -> None:
    entries = [{"space": "kws", "seed": seed} for seed in range(400)]
    body = msgpack.packb({"models": entries, "operators": False})
    head = f"POST {POST} HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.msgpack\r\n"
    whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with serving(predictor, cache_bytes=0) as client:
        address = (client.base_url.host, client.base_url.port or 80)
        with socket.create_connection(address, timeout=120) as batch:
            batch.sendall(whole)
            until(lambda: "perfsage_waiting 1.0" in client.get("/metrics").text)
            assert client.post(POST, content=small, headers=RAW).status_code == 200
            batch.setblocking(False)
            with pytest.raises(BlockingIOError):  # the batch's answer is not there yet
                batch.recv(1)
            batch.settimeout(120)
            assert batch.recv(12) == b"HTTP/1.1 200"


def test_what_was_predicted_before_needs_no_place(client: httpx.Client, small: bytes) -> None:
    assert client.post(POST, content=small, headers=RAW).status_code == 200

    def ask(_: int) -> set[int]:
        with httpx.Client(base_url=client.base_url, timeout=30) as own:
            return {own.post(POST, content=small, headers=RAW).status_code for _ in range(30)}

    with ThreadPoolExecutor(MAX_ARRIVING) as threads:
        assert set().union(*threads.map(ask, range(MAX_ARRIVING))) == {200}


def test_retrying_waits_for_as_long_as_answers_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    admission = Admission(Settings(max_waiting=0), Metrics())
    headers = [(b"content-length", b"9999999")]
    for _ in range(60):
        with admission.predicting({"headers": headers}):
            assert admission.waiting == 1
            now += 4.5
    with admission.predicting({"headers": headers}):
        refused = admission.enter(headers)
        assert isinstance(refused, Refusal)
        assert refused.headers == {"Retry-After": "5"} and refused.hint == "Try again after 5 seconds."
        with pytest.raises(Refusal), admission.predicting({"headers": headers}):
            pass
        ticket = admission.enter([])
        assert isinstance(ticket, Ticket) and admission.waiting == 2
        ticket.arrived()
        ticket.arrived()
    assert admission.waiting == 0


def test_the_queue_is_short_while_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lane = Lane(threads=1, max_waiting=8)
    assert lane.limit == 9
    lane.refuse()
    now += 0.9
    assert lane.limit == 2
    now += 0.2
    assert lane.limit == 9
    assert Lane(threads=2, max_waiting=1).limit == 3


def test_accepting_connections_takes_little_time_from_requests() -> None:
    yielding = Yielding()
    assert [yielding.seconds(count, 5.0) for count in (1, 2, 9)] == pytest.approx([0.001, 0.002, 0.005])
    flood = sum(yielding.seconds(100, 5.5) for _ in range(1000))
    assert flood == pytest.approx(0.012)
    assert yielding.seconds(1, 6.0) == 0.001
