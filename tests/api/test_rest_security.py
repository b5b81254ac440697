"""Keys, rates, and what hostile or broken clients send."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgpack
import pytest

from perfsage.graph import blank_weights
from tests.api.service import serving, serving_process
from tests.api.support import Cli

pytestmark = pytest.mark.xdist_group("trained")
RAW = {"Content-Type": "application/octet-stream"}
POST = "/v1/predictions"


@pytest.fixture(scope="module")
def client(predictor: Path) -> Iterator[httpx.Client]:
    limits = {
        "max_body_bytes": 3_000_000,
        "max_header_seconds": 0.5,
        "max_operators": 60,
        "max_send_seconds": 1,
    }
    with serving(predictor, **limits) as client:
        yield client


def _slug(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("/errors/")


def test_keys_open_what_their_scopes_say_until_they_are_revoked(
    cli: Cli, predictor: Path, tmp_path: Path
) -> None:
    database = tmp_path / "service.db"
    made = {
        scope: cli("keys", "create", f"for {scope}", "--scope", scope, "--db", database, "--json").json
        for scope in ("predict", "write", "admin")
    }
    secret = made["predict"]["key"].split("_", 2)[2]  # which may have such a character itself
    assert secret.encode() not in database.read_bytes()
    with serving(predictor, database=database, require_keys=True) as client:
        assert client.get("/healthz").status_code == 200
        missing = client.get("/v1/devices")
        assert _slug(missing) == (401, "unauthenticated")
        assert missing.headers["WWW-Authenticate"] == "Bearer"
        for wrong in ("x", "Basic eDp5", "Bearer psage_000000000000_" + "A" * 43, f"Bearer {secret}"):
            assert client.get("/v1/devices", headers={"Authorization": wrong}).status_code == 401

        def status(scope: str, method: str, path: str) -> int:
            headers = {"Authorization": f"Bearer {made[scope]['key']}"}
            return client.request(method, path, headers=headers, json={}).status_code

        assert [status(scope, "GET", "/v1/devices") for scope in made] == [200, 200, 200]
        assert [status(scope, "POST", "/v1/measurements") for scope in made] == [403, 422, 422]
        assert [status(scope, "GET", "/metrics") for scope in made] == [403, 403, 200]

        cli("keys", "revoke", made["write"]["id"], "--db", database)
        deadline = time.monotonic() + 20
        while status("write", "GET", "/v1/devices") == 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert status("predict", "GET", "/v1/devices") == 200
    listed = cli("keys", "list", "--db", database, "--json").json["keys"]
    assert [key["name"] for key in listed if key["revoked_at"]] == ["for write"]
    assert cli("keys", "revoke", "nobody", "--db", database).code == 11
    assert cli("keys", "create", "x", "--scope", "everything", "--db", database).code == 12


def test_other_machines_are_not_served_without_a_database_of_keys(cli: Cli, predictor: Path) -> None:
    done = cli("serve", "--host", "0.0.0.0", "--predictor", predictor)
    assert (done.code, "API keys" in done.err) == (12, True)


def test_rates_are_limited_and_said(predictor: Path) -> None:
    with serving(predictor, requests_per_minute=3) as client:
        answers = [client.get("/v1/devices") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert _slug(answers[3]) == (429, "rate-limited")
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 20
        assert client.get("/healthz").status_code == 200


def test_every_answer_has_security_headers(client: httpx.Client) -> None:
    for path in ("/v1/devices", "/nothing", "/healthz"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "server" not in headers


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"models":' + b"[" * 100_000, "application/json"),
        (b'{"models":' * 50_000, "application/json"),
        (b'{"models":[' + b"[]," * 900_000 + b"[]]}", "application/json"),
        (b'{"models":NaN}', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"\x81\xa6models" + b"\x91" * 100_000, "application/vnd.msgpack"),
        (b"\x81\xa6models\xdd\xff\xff\xff\xff", "application/vnd.msgpack"),
        (b"\x81\xa6models\x91\x81\xa6tflite" + b"\x91" * 2_000, "application/vnd.msgpack"),
        (
            b"\x81\xa6models\x91\x81\xa6tflite\xdd\x00\x1f\xff\xff" + b"\xc0" * 2_097_151,
            "application/vnd.msgpack",
        ),
        (b"\x80\x80", "application/vnd.msgpack"),
        (b"", "application/vnd.msgpack"),
        (b"\x81\x90\x90", "application/msgpack"),
    ],
)
def test_bodies_that_stand_for_far_more_are_refused_quickly(
    client: httpx.Client, content: bytes, media_type: str
) -> None:
    began = time.monotonic()
    answer = client.post(POST, content=content, headers={"Content-Type": media_type})
    assert _slug(answer) == (422, "invalid-input")
    assert time.monotonic() - began < 5


def test_decompression_bombs_are_refused(client: httpx.Client, models: dict[str, Path]) -> None:
    structure = blank_weights(models["int8"])
    place = structure.index(b"\x78\x01", 16)
    bomb = structure[:place] + zlib.compress(bytes(50_000_000), 9)
    declared = re.sub(rb'"flatbuffer_bytes": \d+', b'"flatbuffer_bytes": 50000000', bomb[16:place])
    honest = bomb[:12] + len(declared).to_bytes(4, "little") + declared + bomb[place:]
    for content in (bomb, honest):
        assert _slug(client.post(POST, content=content, headers=RAW)) == (422, "invalid-model")
    packed = gzip.compress(models["int8"].read_bytes())
    answer = client.post(POST, content=packed, headers=RAW | {"Content-Encoding": "gzip"})
    assert _slug(answer) == (415, "unsupported-media-type")


def test_large_graphs_are_refused(client: httpx.Client) -> None:
    found = client.post(POST, json={"models": [{"space": "detection", "seed": 1}]}).json()
    assert "operators" in found["errors"][0]["detail"]


def test_hostile_files_cost_one_answer_each_and_never_the_service(
    client: httpx.Client, models: dict[str, Path]
) -> None:
    good = bytearray(models["int8"].read_bytes())
    entries = []
    for step in range(100):
        data = bytearray(good)
        place = (step * 7919) % len(data)
        data[place : place + 4] = b"\xff\xff\xff\x7f"
        entries.append({"tflite": bytes(data)})
    for start in range(0, len(entries), 5):
        body = msgpack.packb({"models": entries[start : start + 5], "operators": False})
        answer = client.post(POST, content=body, headers={"Content-Type": "application/vnd.msgpack"})
        assert answer.status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/errors/..%2f..%2fpyproject.toml",
        "/errors/../../pyproject.toml",
        "/v1/models/%27%20OR%201=1--/predictions",
        "/v1/predictors/%0d%0aX-Evil:%20yes",
    ],
)
def test_paths_inject_nothing(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    assert "x-evil" not in answer.headers


def _raw(client: httpx.Client, data: bytes, seconds: float = 5) -> bytes:
    """Send bytes as they are and return what comes until the service closes the connection."""
    url = client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=seconds) as connection:
        connection.sendall(data)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    return received


def test_headers_that_do_not_end_are_given_up(client: httpx.Client) -> None:
    began = time.monotonic()
    assert _raw(client, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""
    assert _raw(client, b"") == b""
    assert time.monotonic() - began < 8
    second = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT"
    assert _raw(client, second).count(b"200 OK") == 1


def test_what_is_no_http_is_a_problem_too(client: httpx.Client) -> None:
    answer = _raw(client, b"HELLO\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    huge = _raw(client, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000)
    assert huge.startswith(b"HTTP/1.1 431 ") or huge == b""


def test_the_log_has_no_secrets(predictor: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving_process(predictor, log=log) as (_, client):
        headers = {"Authorization": "Bearer psage_secret", "Idempotency-Key": "secret"}
        client.get("/v1/devices?name=secret", headers=headers)
        client.get("/nothing/%1b[31m%0aforged")
    text = log.read_text()
    assert "GET /v1/devices 200" in text
    assert "secret" not in text
    assert "\x1b" not in text
    assert r"/nothing/\x1b[31m\nforged 404" in text
