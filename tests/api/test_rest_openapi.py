"""The OpenAPI document is true: its examples work, and what is generated from it breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.service import serving

pytestmark = pytest.mark.xdist_group("trained")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def client(predictor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    database = tmp_path_factory.mktemp("openapi") / "service.db"
    with serving(predictor, database=database) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_every_example_is_served(client: httpx.Client, document: dict[str, Any]) -> None:
    examples = document["paths"]["/v1/predictions"]["post"]["requestBody"]["content"]["application/json"]
    assert set(examples["examples"]) == {"spaces", "one fails alone"}
    for name, example in examples["examples"].items():
        answer = client.post("/v1/predictions", json=example["value"])
        assert answer.status_code == 200
        assert ("errors" in answer.json()) == (name == "one fails alone")


def test_errors_are_problems_in_every_operation(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert set(response["content"]) == {"application/problem+json"}, (method, path, status)
            assert {"401", "403", "429", "500"} <= set(operation["responses"]), (method, path)


@pytest.mark.filterwarnings("ignore")
def test_generated_requests_are_answered_as_documented(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=str(client.base_url))
    for result in schema.get_all_operations():
        _check(result.ok())


def _check(operation: Any) -> None:
    """Send the requests that schemathesis generates for one operation."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    run()
