"""A worker that stops loses no request that was on its way."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from api.rest.draining import LINGER_SECONDS
from tests.api.service import serving_process, until

Connection = http.client.HTTPConnection
Stop = Callable[[], tuple[Connection, Connection]]


def ask(connection: Connection) -> http.client.HTTPResponse:
    connection.request("GET", "/v1/info")
    return read(connection)


def read(connection: Connection) -> http.client.HTTPResponse:
    answer = connection.getresponse()
    answer.read()
    return answer


@pytest.fixture
def stop(predictor: Path, tmp_path: Path) -> Iterator[Stop]:
    """Give what begins to stop the service, and returns a new connection and one that was used already."""
    log = tmp_path / "log"
    with ExitStack() as stack:
        process, client = stack.enter_context(serving_process(predictor, log=log))

        def begin() -> tuple[Connection, Connection]:
            address = (client.base_url.host, client.base_url.port)
            new, used = (stack.enter_context(closing(Connection(*address, timeout=30))) for _ in "12")
            new.connect()
            assert ask(used).getheader("connection") is None
            process.send_signal(signal.SIGTERM)
            until(lambda: "Shutting down" in log.read_text())
            return new, used

        yield begin
        assert process.wait(timeout=30) == 0


def test_requests_on_their_way_are_answered(stop: Stop) -> None:
    for answer in [ask(connection) for connection in stop()]:
        assert (answer.status, answer.getheader("connection")) == (200, "close")


def test_a_request_that_has_begun_may_take_longer(stop: Stop) -> None:
    connection, _ = stop()
    connection.send(b"GET /v1/info HTTP/1.1\r\n")
    time.sleep(LINGER_SECONDS + 0.2)
    connection.send(b"Host: here\r\n\r\n")
    answer = http.client.HTTPResponse(connection.sock)
    answer.begin()
    assert answer.status == 200


def test_connections_without_a_request_are_closed(stop: Stop) -> None:
    assert [connection.sock.recv(1) for connection in stop()] == [b"", b""]
