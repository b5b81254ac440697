"""The service as clients see it, over HTTP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.service import serving, serving_process
from tests.api.support import Cli

pytestmark = pytest.mark.xdist_group("trained")
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def client(predictor: Path) -> Iterator[httpx.Client]:
    with serving(predictor, max_body_bytes=3_000_000, max_models=3) as client:
        yield client


def test_the_answer_is_that_of_the_command_line(
    client: httpx.Client, cli: Cli, predictor: Path, models: dict[str, Path]
) -> None:
    printed = cli("predict", models["int8"], "--predictor", predictor, "--json").json
    for media_type in ("application/octet-stream", "application/vnd.tflite; charset=binary"):
        headers = {"Content-Type": media_type}
        answer = client.post("/v1/predictions", content=models["int8"].read_bytes(), headers=headers)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        found = answer.json()
        for prediction in found["predictions"]:
            assert prediction["model"]["path"] is None
            prediction["model"]["path"] = str(models["int8"])
        assert found == printed


def test_the_answer_has_exactly_the_documented_words(client: httpx.Client, models: dict[str, Path]) -> None:
    found = client.post("/v1/predictions", content=models["int8"].read_bytes(), headers=RAW).json()
    assert set(found) == {"schema_version", "predictor", "predictions"}
    words = {"name", "version", "feature_schema", "trained_on_graphs", "created_at"}
    assert set(found["predictor"]) == words
    by_device = {prediction["device"]: prediction for prediction in found["predictions"]}
    assert set(by_device) == {"tflm", "ethos-u55-128"}
    npu = by_device["ethos-u55-128"]
    words = {"model", "device", "metrics", "operators", "in_distribution", "warnings"}
    assert set(npu) == words
    assert set(npu["model"]) == {"path", "model_id", "graph_id", "operators", "macs"}
    assert set(npu["metrics"]["latency_ms"]) == {"value", "low", "high", "level", "unit", "mode"}
    assert set(npu["operators"][0]) == {"subgraph", "index", "type", "latency_ms"}
    assert set(by_device["tflm"]["metrics"]["energy_mj"]) == {"value", "availability", "reason"}


def test_devices_and_metrics_can_be_chosen(client: httpx.Client, models: dict[str, Path]) -> None:
    query = {"device": ["tflm", "tflm"], "metric": ["storage_bytes", "peak_memory_bytes"]}
    body = models["int8"].read_bytes()
    found = client.post("/v1/predictions", params=query, content=body, headers=RAW).json()
    [prediction] = found["predictions"]
    assert prediction["device"] == "tflm"
    assert list(prediction["metrics"]) == ["storage_bytes", "peak_memory_bytes"]


def test_several_models_in_one_form(client: httpx.Client, models: dict[str, Path]) -> None:
    files = [("model", (path.name, path.read_bytes())) for path in models.values()]
    found = client.post("/v1/predictions", files=files, data={"device": ["tflm"]}).json()
    assert [p["model"]["path"] for p in found["predictions"]] == ["kws_int8.tflite", "kws_float32.tflite"]


def test_one_bad_model_of_several_fails_alone(client: httpx.Client, models: dict[str, Path]) -> None:
    files = [("m", ("broken.tflite", b"TFL")), ("m", ("a.tflite", models["int8"].read_bytes()))]
    found = client.post("/v1/predictions", files=files).json()
    assert {p["model"]["path"] for p in found["predictions"]} == {"a.tflite"}
    [error] = found["errors"]
    assert (error["model"], error["name"], error["type"]) == (0, "broken.tflite", "/errors/invalid-model")


def test_devices(client: httpx.Client) -> None:
    listed = {device["name"]: device for device in client.get("/v1/devices").json()["devices"]}
    assert set(listed) == {"tflm", "ethos-u55-128"}
    assert listed["tflm"]["metrics"]["peak_memory_bytes"]["definition"] == "arena_total"


def test_health_and_readiness(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"


def test_the_openapi_document_describes_the_body(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/predictions"]["post"]
    assert "application/vnd.tflite" in operation["requestBody"]["content"]


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/devices/", 404, "not-found"),
        ("GET", "/errors/nothing", 404, "not-found"),
        ("GET", "/v1/predictions", 405, "method-not-allowed"),
        ("POST", "/v1/devices", 405, "method-not-allowed"),
        ("POST", "/v1/predictions", 415, "unsupported-media-type"),
        ("POST", "/v1/predictions?devices=tflm", 422, "invalid-request"),
    ],
)
def test_refused_requests(client: httpx.Client, method: str, path: str, status: int, slug: str) -> None:
    _check(client, client.request(method, path), status, slug)


@pytest.mark.parametrize(
    ("content", "query", "status", "slug"),
    [
        (b"", "", 422, "invalid-model"),
        (b"no model at all", "", 422, "invalid-model"),
        (bytes(3_000_001), "", 413, "body-too-large"),
        (None, "?device=tpu-9", 422, "unknown-name"),
        (None, "?metric=beauty", 422, "unknown-name"),
    ],
)
def test_refused_models(
    client: httpx.Client, models: dict[str, Path], content: bytes | None, query: str, status: int, slug: str
) -> None:
    body = models["int8"].read_bytes() if content is None else content
    _check(client, client.post(f"/v1/predictions{query}", content=body, headers=RAW), status, slug)


def test_a_body_without_a_length_is_refused_while_it_arrives(client: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1 << 30:
            sent += 1 << 20
            yield bytes(1 << 20)

    _check(client, client.post("/v1/predictions", content=endless(), headers=RAW), 413, "body-too-large")
    assert sent < 100 << 20


def test_refused_forms(client: httpx.Client, models: dict[str, Path]) -> None:
    model = ("a.tflite", models["int8"].read_bytes())
    post = "/v1/predictions"
    _check(client, client.post(post, files=[("m", model)] * 4), 400, "invalid-request")
    _check(client, client.post(post, files=[("m", model)], data={"colour": "red"}), 422, "invalid-request")
    _check(client, client.post(post, files={"device": (None, "tflm")}), 422, "invalid-request")
    headers = {"Content-Type": "multipart/form-data"}
    _check(client, client.post(post, content=b"x", headers=headers), 400, "invalid-request")


def _check(client: httpx.Client, answer: httpx.Response, status: int, slug: str) -> None:
    """Every error is a whole problem object, whose type leads to its page."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "where", "hint"}
    assert (body["type"], body["status"]) == (f"/errors/{slug}", status)
    assert body["detail"].endswith(".")
    assert "Traceback" not in answer.text
    page = client.get(body["type"])
    assert page.text.startswith(f"# {body['title']}\n")
    if status == 405:
        assert answer.headers["Allow"]
    if status == 415:
        assert "application/vnd.tflite" in answer.headers["Accept-Post"]


def test_a_slow_body_is_given_up(predictor: Path) -> None:
    def slow() -> Iterator[bytes]:
        yield b"TFL3"
        threading.Event().wait(3)
        yield b"more"

    with serving(predictor, max_body_seconds=0.3) as client:
        answer = client.post("/v1/predictions", content=slow(), headers=RAW)
        _check(client, answer, 408, "body-too-slow")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_when_it_is_told_to(predictor: Path, number: signal.Signals) -> None:
    with serving_process(predictor) as (process, client):
        assert client.get("/readyz").status_code == 200
        process.send_signal(number)
        process.wait(timeout=20)


def test_serving_without_a_predictor_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("serve", "--predictor", tmp_path).code == 30
    assert cli("serve", "--port", "99999").code == 12
