"""A device that a loop has measured becomes one that can be predicted."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.service import serving

pytestmark = pytest.mark.xdist_group("trained")
PATH = "/v1/adaptations"
BOARD = {
    "name": "my-board",
    "kind": "npu",
    "description": "an NPU whose figures are those of ethos-u55-128",
    "metrics": {"latency_ms": "estimate"},
}


@pytest.fixture(scope="module")
def client(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("adaptations")
    shutil.copy(trained / "kws.db", folder / "service.db")
    settings = {"database": folder / "service.db", "adaptations": folder / "predictors"}
    with serving(trained / "predictor", **settings) as client:
        query = {"device": "ethos-u55-128", "metric": "latency_ms", "limit": 12}
        measured = client.get("/v1/measurements", params=query).json()["measurements"]
        copies = [row | {"device": "my-board"} for row in measured]
        body = {"measurements": copies, "devices": [BOARD]}
        assert client.post("/v1/measurements", json=body).json() == {"added": 12}
        yield client


def _followed(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    with client.stream("GET", f"{PATH}/{job_id}/events", timeout=120) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_measured_device_is_learned_and_predicted(client: httpx.Client) -> None:
    begun = client.post(PATH, json={"device": "my-board", "predictor": "mine"})
    assert begun.status_code == 202
    job = begun.json()
    events = _followed(client, job["id"])
    assert (events[-1]["status"], events[-1]["progress"]) == ("done", 1.0), events[-1]
    [score] = events[-1]["result"]["scores"]
    assert (score["metric"], score["networks"]) == ("latency_ms", 12)
    assert client.get(begun.headers["Location"]).json() == events[-1]
    query = {"predictor": "mine", "device": ["my-board", "ethos-u55-128"], "metric": "latency_ms"}
    models = {"models": [{"space": "kws", "seed": 3}]}
    answer = client.post("/v1/predictions", params=query, json=models).json()
    assert answer["predictor"]["name"] == "mine"
    assert all(p["metrics"]["latency_ms"]["value"] > 0 for p in answer["predictions"])
    listed = {found["name"]: found for found in client.get("/v1/predictors").json()["predictors"]}
    assert "my-board" in listed["mine"]["devices"]
    assert client.post("/v1/predictions", params={"device": "my-board"}, json=models).status_code == 422


def test_what_cannot_be_learned_is_said(client: httpx.Client) -> None:
    trained = client.post(PATH, json={"device": "tflm", "predictor": "again"}).json()
    deadline = time.monotonic() + 120
    while (job := client.get(f"{PATH}/{trained['id']}").json())["status"] not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert job["status"] == "failed"
    assert "trained for a device" in job["problem"]["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"device": "nobody", "predictor": "x"},
        {"device": "my-board", "predictor": "../../etc"},
        {"device": "my-board", "predictor": "x", "colour": "red"},
    ],
)
def test_what_cannot_be_begun_is_refused(client: httpx.Client, body: Any) -> None:
    answer = client.post(PATH, json=body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")


def test_unknown_jobs_and_predictors(client: httpx.Client) -> None:
    assert client.get(f"{PATH}/{'0' * 16}").status_code == 404
    assert client.get(f"{PATH}/{'0' * 16}/events").status_code == 404
    models = {"models": [{"space": "kws", "seed": 3}]}
    for name in ("nobody", "../predictors/mine", "."):
        answer = client.post("/v1/predictions", params={"predictor": name}, json=models)
        assert (answer.status_code, answer.json()["type"]) == (422, "/errors/unknown-name")
