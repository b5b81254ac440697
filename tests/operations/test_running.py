"""The service while it is operated: its log, its traces, another predictor, several workers, its end."""

from __future__ import annotations

import http.server
import itertools
import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api.rest.operations import request_id_of, trace_id_of
from tests.api.service import leaving, metric, serving_process, until
from tests.operations.test_clients_that_leave import LEFT

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def renamed(predictor: Path, folder: Path, name: str) -> Path:
    """Copy a predictor under another name, which gives it another version."""
    shutil.copytree(predictor, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    return folder


def point(link: Path, folder: Path) -> None:
    """Change a link in one step."""
    link.with_suffix(".next").symlink_to(folder)
    link.with_suffix(".next").replace(link)


def name_of(client: httpx.Client) -> str:
    return str(client.get("/readyz").json()["predictor"])


@pytest.fixture
def link(predictor: Path, tmp_path: Path) -> Path:
    found = tmp_path / "current"
    found.symlink_to(renamed(predictor, tmp_path / "one", "first"))
    return found


def test_a_request_can_be_followed(predictor: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving_process(predictor, log=log, log_format="json") as (process, client):
        headers = {"X-Request-Id": "loop-7", "traceparent": PARENT, "Authorization": "Bearer secret"}
        assert client.get("/v1/info?token=secret", headers=headers).headers["x-request-id"] == "loop-7"
        refused = client.get("/none", headers={"X-Request-Id": "a b " * 30 + "c"})
        assert len(refused.headers["x-request-id"]) == 32
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        until(lambda: "Finished server process" in log.read_text())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [line] = [line for line in lines if line.get("request_id") == "loop-7"]
    assert line["trace_id"] == TRACE
    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/info", 200)
    assert line["duration_ms"] > 0 and line["sent_bytes"] > 0
    assert "secret" not in log.read_text()


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "x\n", "é", "{}"])
def test_an_id_that_could_disturb_a_log_is_replaced(given: str) -> None:
    assert len(request_id_of(given)) == 32


@pytest.mark.parametrize(
    "given", ["", PARENT[:-1], PARENT.replace(TRACE, "0" * 32), "ff" + PARENT[2:], PARENT.upper(), "0" * 9999]
)
def test_a_trace_that_is_none_is_ignored(given: str) -> None:
    assert trace_id_of(given) is None
    assert trace_id_of(PARENT) == TRACE


def test_another_predictor_answers_without_a_pause(link: Path, predictor: Path, tmp_path: Path) -> None:
    second = renamed(predictor, tmp_path / "two", "second")
    with serving_process(link, predictor_poll_seconds=0.2) as (_, client):
        assert name_of(client) == "first"
        point(link, second)
        seen = []

        def changed() -> bool:
            answer = client.get("/v1/predictors/active")
            assert answer.status_code == 200
            seen.append(answer.json()["name"])
            return seen[-1] == "second"

        until(changed)
        assert set(seen) <= {"first", "second"}


def test_a_damaged_predictor_changes_nothing(link: Path, predictor: Path, tmp_path: Path) -> None:
    broken = renamed(predictor, tmp_path / "broken", "broken")
    (broken / "model.onnx").write_bytes(b"half a file")
    log = tmp_path / "log"
    with serving_process(link, log=log, predictor_poll_seconds=0.1) as (_, client):
        point(link, broken)
        until(lambda: log.exists() and "the old one goes on answering" in log.read_text())
        time.sleep(0.5)
        assert name_of(client) == "first"
        assert log.read_text().count("the old one goes on answering") == 1
        point(link, renamed(predictor, tmp_path / "two", "second"))
        until(lambda: name_of(client) == "second")


def test_a_hangup_looks_for_another_predictor(link: Path, predictor: Path, tmp_path: Path) -> None:
    with serving_process(link, predictor_poll_seconds=0) as (process, client):
        point(link, renamed(predictor, tmp_path / "two", "second"))
        time.sleep(0.3)
        assert name_of(client) == "first"
        process.send_signal(signal.SIGHUP)
        until(lambda: name_of(client) == "second")


def test_workers_are_replaced_while_requests_are_answered(
    link: Path, predictor: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    log, content = tmp_path / "log", models["int8"].read_bytes()
    settings = {"workers": 2, "predictor_poll_seconds": 0, "log_format": "json"}
    with serving_process(link, log=log, **settings) as (process, client):
        until(lambda: log.exists() and log.read_text().count("Started server process") == 2)
        point(link, renamed(predictor, tmp_path / "two", "second"))
        process.send_signal(signal.SIGHUP)
        kept = {"Content-Type": "application/octet-stream"}
        turns = itertools.cycle([kept, kept, kept | {"Connection": "close"}])

        def replaced() -> bool:
            answer = client.post("/v1/predictions?operators=false", content=content, headers=next(turns))
            assert answer.status_code == 200
            return log.read_text().count("Finished server process") == 2

        until(replaced)
        assert {name_of(client) for _ in range(8)} == {"second"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Receive what is sent to it over OTLP/HTTP, as a collector would."""
    received: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_requests_are_spans(predictor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    with collector() as (address, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        with serving_process(predictor, tracing=True) as (process, client):
            assert client.get("/v1/predictors/none", headers={"traceparent": PARENT}).status_code == 404
            with leaving(client, b"{", 9):
                pass
            until(lambda: metric(client, LEFT) == 1)
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
    exports = [messages.ExportTraceServiceRequest.FromString(body) for body in received]
    resources = [found for export in exports for found in export.resource_spans]
    spans = [span for found in resources for scope in found.scope_spans for span in scope.spans]
    [span] = [span for span in spans if span.trace_id.hex() == TRACE]
    facts = {item.key: item.value for item in span.attributes}
    assert span.name == "GET /v1/predictors/{name}"
    assert span.parent_span_id.hex() == "b7ad6b7169203331"
    assert facts["http.response.status_code"].int_value == 404
    names = {item.key: item.value.string_value for item in resources[0].resource.attributes}
    assert names["service.name"] == "perfsage"
    [left] = [span for span in spans if span.name == "POST /v1/predictions"]
    assert "http.response.status_code" not in {item.key for item in left.attributes}
