"""Measurements that loops return: added once, listed in pages, downloaded as one file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from tests.api.service import serving

pytestmark = pytest.mark.xdist_group("trained")
PATH = "/v1/measurements"
BOARD = {
    "name": "my-board",
    "kind": "board",
    "description": "on my desk",
    "metrics": {"latency_ms": "wall_clock"},
    "unavailable": {"energy_mj": "no meter"},
    "descriptors": {"clock_hz": 1e8},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "service.db"


@pytest.fixture(scope="module")
def client(predictor: Path, database: Path) -> Iterator[httpx.Client]:
    with serving(predictor, database=database) as client:
        yield client


@pytest.fixture(scope="module")
def model_id(client: httpx.Client, models: dict[str, Path]) -> str:
    data = models["int8"].read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    headers = {"Content-Type": "application/octet-stream"}
    assert client.put(f"/v1/models/{sha256}", content=data, headers=headers).status_code == 201
    return sha256


def _row(model_id: str, **others: Any) -> dict[str, Any]:
    row = {
        "model_id": model_id,
        "device": "my-board",
        "metric": "latency_ms",
        "definition": "wall_clock",
        "value": 12.5,
        "mode": "measured",
        "statistic": "min",
        "samples": [12.5, 13.0, 14.5],
        "tool": "stopwatch",
        "tool_version": "1",
        "conditions": {"threads": 1},
        "measured_at": "2026-11-20T12:00:00+00:00",
    }
    return row | others


def test_the_same_request_is_served_once(client: httpx.Client, model_id: str) -> None:
    body = {"measurements": [_row(model_id)], "devices": [BOARD]}
    headers = {"Idempotency-Key": "first"}
    first = client.post(PATH, json=body, headers=headers)
    assert (first.status_code, first.json()) == (200, {"added": 1})
    again = client.post(PATH, json=body, headers=headers)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == ({"added": 1}, "true")
    other = client.post(PATH, json={"measurements": [_row(model_id, value=1)]}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (409, "/errors/idempotency-conflict")
    [found] = client.get(PATH, params={"device": "my-board", "metric": "latency_ms"}).json()["measurements"]
    assert {name: found[name] for name in _row(model_id)} == _row(model_id)


def test_pages_have_everything_once(client: httpx.Client, model_id: str) -> None:
    rows = [_row(model_id, conditions={"threads": 2, "run": run}, value=run + 0.5) for run in range(7)]
    rows.append(_row(model_id, metric="energy_mj", value=None, reason="no meter"))
    assert client.post(PATH, json={"measurements": rows, "devices": [BOARD]}).json() == {"added": 8}
    seen: list[Any] = []
    query = {"model_id": model_id, "limit": 3}
    while True:
        page = client.get(PATH, params=query).json()
        seen += page["measurements"]
        if page["next"] is None:
            break
        assert len(page["measurements"]) == 3
        query["cursor"] = page["next"]
    values = [row["value"] for row in seen]
    assert set(values) >= {0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, None}
    assert len({str(row) for row in seen}) == len(seen)
    [missing] = [row for row in seen if row["value"] is None]
    assert missing["reason"] == "no meter"
    for cursor in ("x", "LjEuMQ", "A" * 90, "é"):
        assert client.get(PATH, params={"cursor": cursor}).status_code == 422


def test_the_dataset_is_one_file(client: httpx.Client, model_id: str) -> None:
    answer = client.get("/v1/dataset.parquet")
    frame = pd.read_parquet(io.BytesIO(answer.content))
    assert set(frame["model_id"]) == {model_id}
    assert {"device", "metric", "value", "unavailable", "conditions"} <= set(frame.columns)
    tag = {"If-None-Match": answer.headers["ETag"]}
    assert client.get("/v1/dataset.parquet", headers=tag).status_code == 304


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"model_id": "0" * 64}, "measurements[1].model_id"),
        ({"model_id": "x"}, "measurements[1].model_id"),
        ({"device": "your-board"}, "measurements[1].device"),
        ({"metric": "beauty"}, "measurements[1]"),
        ({"mode": "predicted"}, "measurements[1].mode"),
        ({"mode": "guessed"}, "measurements[1]"),
        ({"value": -1}, "measurements[1]"),
        ({"value": True}, "measurements[1]"),
        ({"value": None}, "measurements[1]"),
        ({"samples": ["x"]}, "measurements[1]"),
        ({"conditions": {"a": []}}, "measurements[1].conditions"),
        ({"measured_at": "yesterday"}, "measurements[1]"),
        ({"tool": "\0"}, "measurements[1].tool"),
        ({"colour": "red"}, "measurements[1]"),
        ({"unit": "s"}, "measurements[1].unit"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_added(
    client: httpx.Client, model_id: str, change: dict[str, Any], where: str
) -> None:
    before = client.get("/v1/dataset.parquet").headers["ETag"]
    rows = [_row(model_id, conditions={"threads": 3}), _row(model_id) | change]
    answer = client.post(PATH, json={"measurements": rows, "devices": [BOARD]})
    assert answer.status_code == 422
    assert answer.json()["where"].startswith(where)
    assert client.get("/v1/dataset.parquet").headers["ETag"] == before


@pytest.mark.parametrize("body", [{}, {"measurements": []}, {"measurements": {}}, {"measurements": [1]}])
def test_what_is_no_list_of_measurements_is_refused(client: httpx.Client, body: Any) -> None:
    assert client.post(PATH, json=body).status_code == 422


def test_uploads_and_measurements_outlive_the_process(
    client: httpx.Client, predictor: Path, database: Path, model_id: str
) -> None:
    with serving(predictor, database=database) as other:
        found = other.post("/v1/predictions", json={"models": [{"sha256": model_id}]}).json()
        assert "errors" not in found
        assert other.get(PATH).json()["measurements"]


def test_a_service_without_a_database_says_so(predictor: Path) -> None:
    with serving(predictor) as client:
        for answer in (client.get(PATH), client.post(PATH, json={}), client.get("/v1/dataset.parquet")):
            assert (answer.status_code, answer.json()["type"]) == (404, "/errors/no-database")
