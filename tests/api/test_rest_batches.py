"""Batches, uploads and entity tags: what a search loop sends."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pytest

from perfsage import read_graph
from perfsage.graph import blank_weights, strip_weights
from tests.api.service import serving

pytestmark = pytest.mark.xdist_group("trained")
PACKED = "application/vnd.msgpack"
POST = "/v1/predictions"


@pytest.fixture(scope="module")
def client(predictor: Path) -> Iterator[httpx.Client]:
    with serving(predictor, max_body_bytes=2_000_000, max_models=8) as client:
        yield client


@pytest.fixture(scope="module")
def model(models: dict[str, Path]) -> bytes:
    return models["int8"].read_bytes()


def _metrics(found: dict[str, Any]) -> list[Any]:
    return [prediction["metrics"] for prediction in found["predictions"]]


def test_every_form_of_a_model_has_the_same_predictions(client: httpx.Client, model: bytes) -> None:
    sha256 = hashlib.sha256(model).hexdigest()
    headers = {"Content-Type": "application/octet-stream"}
    first = client.put(f"/v1/models/{sha256}", content=blank_weights(model), headers=headers)
    again = client.put(f"/v1/models/{sha256}", content=model, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == client.get(f"/v1/models/{sha256}").json()
    forms = [
        {"sha256": sha256},
        {"tflite": base64.b64encode(model).decode()},
        {"structure": base64.b64encode(strip_weights(model)).decode()},
        {"structure": base64.b64encode(strip_weights(model, compress=True)).decode()},
        {"space": "kws", "seed": 3, "dtype": "int8"},
    ]
    found = client.post(POST, json={"models": forms}).json()
    assert "errors" not in found
    alone = client.post(POST, content=model, headers=headers).json()
    assert found["predictions"] == alone["predictions"] * len(forms)
    assert {p["model"]["model_id"] for p in found["predictions"]} == {sha256}


def test_an_architecture_of_a_known_space(client: httpx.Client) -> None:
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    models = [{"space": "nasbench201", "architecture": text, "name": "n"} for text in (cell, cell[:-3])]
    found = client.post(POST, json={"models": models, "devices": ["tflm"]}).json()
    [prediction], [error] = found["predictions"], found["errors"]
    assert prediction["model"]["path"] == "n"
    assert (error["model"], error["type"]) == (1, "/errors/invalid-input")


def test_messagepack_says_what_json_says(client: httpx.Client, model: bytes) -> None:
    models = [{"tflite": model, "name": "a"}, {"sha256": "0" * 64}, {"space": "kws", "seed": 1}]
    choice = {"devices": ["tflm"], "metrics": ["peak_memory_bytes"], "operators": False}
    headers = {"Content-Type": PACKED, "Accept": PACKED}
    packed = client.post(POST, content=msgpack.packb({"models": models, **choice}), headers=headers)
    assert packed.headers["Content-Type"] == PACKED
    models[0]["tflite"] = base64.b64encode(model).decode()
    plain = client.post(POST, json={"models": models, **choice})
    assert msgpack.unpackb(packed.content) == plain.json()
    assert [p["operators"] for p in plain.json()["predictions"]] == [[], []]
    assert packed.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("entry", "slug"),
    [
        ({}, "invalid-input"),
        ("text", "invalid-input"),
        ({"sha256": "0" * 64, "space": "kws"}, "invalid-input"),
        ({"sha256": "../../etc/passwd"}, "invalid-input"),
        ({"sha256": "0" * 64}, "unknown-model"),
        ({"tflite": "no base64!"}, "invalid-input"),
        ({"tflite": base64.b64encode(b"TFL3" * 100).decode()}, "invalid-model"),
        ({"space": "nowhere", "seed": 1}, "unknown-name"),
        ({"space": "kws", "seed": -1}, "invalid-input"),
        ({"space": "kws", "seed": 1, "dtype": "int4"}, "invalid-input"),
        ({"space": "kws", "architecture": "text"}, "unknown-name"),
        ({"space": "kws"}, "invalid-input"),
        ({"space": "kws", "seed": 1, "colour": "red"}, "invalid-input"),
        ({"space": "kws", "seed": 1, "name": 7}, "invalid-input"),
    ],
)
def test_a_bad_model_fails_alone(client: httpx.Client, entry: Any, slug: str) -> None:
    good = {"space": "kws", "seed": 3}
    answer = client.post(POST, json={"models": [good, entry, good], "devices": ["tflm"]})
    assert answer.status_code == 200
    found = answer.json()
    assert len(found["predictions"]) == 2
    [error] = found["errors"]
    assert (error["model"], error["type"]) == (1, f"/errors/{slug}")
    assert client.get(error["type"]).text.startswith(f"# {error['title']}\n")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"models": []},
        {"models": [{}] * 9},
        {"models": {}},
        {"models": [{"space": "kws", "seed": 1}], "devices": "tflm"},
        {"models": [{"space": "kws", "seed": 1}], "operators": 1},
        {"models": [{"space": "kws", "seed": 1}], "colour": "red"},
        {"models": [{"space": "kws", "seed": 1}], "devices": ["tpu-9"]},
        {"models": [{"space": "kws", "seed": 1}], "metrics": ["beauty"]},
    ],
)
def test_a_batch_that_cannot_be_understood_is_refused(client: httpx.Client, body: Any) -> None:
    assert client.post(POST, json=body).status_code == 422


def test_tags_stand_for_model_predictor_and_choice(client: httpx.Client, model: bytes) -> None:
    sha256 = hashlib.sha256(model).hexdigest()
    path = f"/v1/models/{sha256}/predictions"
    client.put(f"/v1/models/{sha256}", content=model, headers={"Content-Type": "application/vnd.tflite"})
    first = client.get(path, params={"device": "tflm"})
    tag = first.headers["ETag"]
    assert first.json()["predictions"][0]["device"] == "tflm"
    unchanged = client.get(path, params={"device": "tflm"}, headers={"If-None-Match": f'"x", {tag}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == tag
    other = client.get(path, params={"device": "ethos-u55-128"}, headers={"If-None-Match": tag})
    assert other.status_code == 200
    devices = client.get("/v1/devices")
    again = client.get("/v1/devices", headers={"If-None-Match": devices.headers["ETag"]})
    assert (devices.status_code, again.status_code) == (200, 304)


def test_uploads_are_checked(client: httpx.Client, model: bytes) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    wrong = client.put("/v1/models/" + "0" * 64, content=model, headers=headers)
    assert (wrong.status_code, wrong.json()["type"]) == (422, "/errors/invalid-input")
    assert client.put("/v1/models/0", content=model, headers=headers).status_code == 422
    missing = client.get("/v1/models/" + "0" * 64 + "/predictions")
    assert (missing.status_code, missing.json()["type"]) == (404, "/errors/unknown-model")
    assert client.get("/v1/models/" + "0" * 64).status_code == 404


def test_answers_are_remembered_by_graph_and_statistics(
    client: httpx.Client, models: dict[str, Path]
) -> None:
    def cached() -> float:
        lines = client.get("/metrics").text.splitlines()
        [line] = [line for line in lines if line.startswith('perfsage_models_total{outcome="cached"}')]
        return float(line.split()[1])

    body = models["float32"].read_bytes()
    # What follows the flatbuffer is no part of the graph, but of the file.
    renamed = body.replace(b"main", b"niam")
    assert read_graph(renamed).graph_id == read_graph(body).graph_id
    headers = {"Content-Type": "application/octet-stream"}
    first = client.post(POST, content=body, headers=headers).json()
    before = cached()
    again = client.post(POST, content=body, headers=headers).json()
    assert cached() == before + 1
    other = client.post(POST, content=renamed, headers=headers).json()
    assert first == again
    assert _metrics(other) == _metrics(first)
    assert other["predictions"][0]["model"]["model_id"] == hashlib.sha256(renamed).hexdigest()


def test_devices_are_filtered(client: httpx.Client) -> None:
    def names(**query: Any) -> list[str]:
        return [device["name"] for device in client.get("/v1/devices", params=query).json()["devices"]]

    assert names(name="ethos") == names(metric=["latency_ms", "storage_bytes"]) == ["ethos-u55-128"]
    assert names(kind="mcu") == ["tflm"]
    assert names(kind="phone") == []
    assert client.get("/v1/devices", params={"metric": "beauty"}).status_code == 422


def test_the_predictor_shows_its_card(client: httpx.Client) -> None:
    predictors = client.get("/v1/predictors").json()["predictors"]
    [listed] = [one for one in predictors if "active" in one["aliases"]]
    for name in ("active", listed["name"], listed["version"]):
        card = client.get(f"/v1/predictors/{name}").json()
        assert card["version"] == listed["version"]
        assert set(card["labels"]) == {"tflm", "ethos-u55-128"}
        assert card["evaluation"]
    assert client.get("/v1/predictors/nobody").status_code == 404


def test_info_and_spaces(client: httpx.Client) -> None:
    info = client.get("/v1/info").json()
    assert info["limits"]["max_models"] == 8
    assert not info["keys_required"]
    assert {"kws", "nasbench201"} <= {space["name"] for space in client.get("/v1/spaces").json()["spaces"]}
