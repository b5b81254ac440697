"""`POST /v1/measurements`, `GET /v1/measurements` and `GET /v1/dataset.parquet`."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from api.rest.body import OBJECT_TYPES, Body, read_body
from api.rest.describe import answer, listing, refusals
from api.rest.etags import etag, is_current
from api.rest.state import State, state_of
from api.rest.wire import JSON, read_json, read_msgpack, respond, wants_msgpack
from api.words import SCHEMA_VERSION
from perfsage.metrics import Metric

MAX_ROWS = 10_000
router = APIRouter(prefix="/v1", tags=["measurements"])

MEASUREMENT: dict[str, Any] = {
    "type": "object",
    "required": ["model_id", "device", "metric", "definition", "mode", "statistic", "tool", "tool_version"],
    "properties": {
        "model_id": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "device": {"type": "string"},
        "metric": {"type": "string", "enum": [metric.value for metric in Metric]},
        "definition": {"type": "string"},
        "value": {"type": ["number", "null"]},
        "reason": {"type": "string"},
        "mode": {"type": "string", "enum": ["measured", "simulated", "imported"]},
        "statistic": {"type": "string"},
        "samples": {"type": "array", "items": {"type": "number"}},
        "tool": {"type": "string"},
        "tool_version": {"type": "string"},
        "conditions": {"type": "object"},
        "measured_at": {"type": "string", "format": "date-time"},
    },
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["measurements"],
                "additionalProperties": False,
                "properties": {
                    "measurements": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_ROWS,
                        "items": MEASUREMENT,
                    },
                    "devices": {"type": "array", "items": {"type": "object"}},
                },
            }
        },
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in OBJECT_TYPES[1:]},
    },
}
_ADDED = {"type": "object", "required": ["added"], "properties": {"added": {"type": "integer"}}}


class Page(BaseModel):
    """Which measurements to list, and from where on."""

    model_config = ConfigDict(extra="forbid")

    device: str | None = Field(default=None, max_length=200)
    metric: Metric | None = None
    model_id: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    cursor: str | None = Field(default=None, max_length=100)
    limit: int = Field(default=100, ge=1, le=1000)


@router.post(
    "/measurements",
    summary="Add what was measured",
    openapi_extra={"requestBody": _BODY},
    responses={
        200: answer("The measurements were added, or were there.", _ADDED),
        **refusals(400, 404, 408, 409, 413, 415, 422),
    },
)
async def add_measurements(
    request: Request,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Response:
    """Add measurements of models that were uploaded or built from a space; all of them or none.

    With the header `Idempotency-Key`, sending the same request again within a day returns the first answer.
    """
    state = state_of(request)
    _ = state.store
    body = await read_body(request, state.settings, OBJECT_TYPES)
    key = getattr(request.state, "key", None)
    owner = key.id if key else ""
    value, replayed = await state.in_database(lambda: _add(state, body, owner, idempotency_key))
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    packed = wants_msgpack(request.headers.get("accept", ""))
    return respond(value, packed=packed, headers=headers)


def _add(state: State, body: Body, owner: str, key: str | None) -> tuple[dict[str, Any], bool]:
    from api.rest.idempotency import recall, remember
    from api.rest.measurement_rows import add

    digest = hashlib.sha256(body.data).digest()
    if key is not None and (known := recall(state.store, owner, key, digest)) is not None:
        return orjson.loads(known), True
    value = read_json(body.data) if body.media_type == JSON else read_msgpack(body.data)
    made = {"added": add(state.store, state.shelf, value, MAX_ROWS)}
    if key is not None:
        remember(state.store, owner, key, digest, orjson.dumps(made).decode())
    return made, False


@router.get(
    "/measurements",
    summary="List measurements, page by page",
    responses={
        200: answer(
            "A page.",
            listing("measurements", {"type": "object"}, next={"type": ["string", "null"]}),
        ),
        **refusals(404, 422),
    },
)
async def list_measurements(request: Request, page: Annotated[Page, Query()]) -> Response:
    """List measurements; `next` is the cursor of the following page, null on the last one.

    Pages are ordered by model, so a measurement that is added while a client reads may be on a page before.
    """
    from api.rest.measurement_rows import read_page

    state = state_of(request)
    store = state.store
    found, cursor = await state.in_database(
        lambda: read_page(store, page.device, page.metric, page.model_id, page.cursor, page.limit)
    )
    value = {"schema_version": SCHEMA_VERSION, "measurements": found, "next": cursor}
    return respond(value, packed=wants_msgpack(request.headers.get("accept", "")))


@router.get(
    "/dataset.parquet",
    summary="Download all measurements",
    response_class=FileResponse,
    responses={
        200: {
            "description": "One row a measurement.",
            "content": {"application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The file that the client has is current."},
        **refusals(404),
    },
)
async def download(request: Request) -> Response:
    """Download every measurement with its network, device, run and conditions as one Parquet file."""
    state = state_of(request)
    store = state.store
    counts = await state.in_database(store.stats)
    tag = etag(store.url, repr(counts))
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_current(request, tag):
        return Response(None, 304, headers)
    path = await state.in_database(lambda: _parquet(state))
    return FileResponse(
        path,
        headers=headers,
        media_type="application/vnd.apache.parquet",
        filename="dataset.parquet",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def _parquet(state: State) -> Path:
    from perfsage.errors import MissingExtraError

    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pyarrow", "dataset") from error
    with tempfile.NamedTemporaryFile(prefix="perfsage-", suffix=".parquet", delete=False) as file:
        path = Path(file.name)
    try:
        state.store.frame().to_parquet(path, compression="zstd")
    except BaseException:
        path.unlink()
        raise
    return path
