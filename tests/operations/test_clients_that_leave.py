"""Clients that close their connection before they have an answer."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.api.service import leaving, metric, serving_process, until

LEFT = 'perfsage_requests_total{method="POST",route="/v1/predictions",status="499"}'
PREDICTED, CACHED = (f'perfsage_models_total{{outcome="{outcome}"}}' for outcome in ("predicted", "cached"))


def batch(*seeds: int) -> bytes:
    return json.dumps({"models": [{"space": "kws", "seed": seed} for seed in seeds]}).encode()


def predictions(client: httpx.Client, body: bytes) -> int:
    answer = client.post("/v1/predictions", content=body, headers={"Content-Type": "application/json"})
    return len(answer.json()["predictions"])


def test_nothing_is_computed_for_clients_that_left(predictor: Path, tmp_path: Path) -> None:
    log, many, one = tmp_path / "log", batch(*range(1000)), batch(1000)
    with serving_process(predictor, log=log) as (_, client):
        with leaving(client, many[:50], len(many)):
            until(lambda: metric(client, "perfsage_waiting") == 1)
        with leaving(client, many):
            until(lambda: metric(client, "perfsage_cache_bytes") > 0)  # a part of it is predicted
            with leaving(client, one):
                pass
            until(lambda: metric(client, LEFT) == 2)
        until(lambda: metric(client, LEFT) == 3 and metric(client, "perfsage_waiting") == 0)
        assert predictions(client, one) == 2
        assert metric(client, PREDICTED) == 1, "it waited behind the batch, and must not have been begun"
        assert predictions(client, many) == 2000
        assert metric(client, PREDICTED) > 1, "the rest of the batch must not have been begun"
        assert metric(client, CACHED) > 0, "what was predicted must be remembered"
    assert "ERROR" not in log.read_text()
