"""`POST /v1/inspect` and `GET /v1/models/{sha256}/inspection`: what a model is, without a prediction."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.rest.body import RAW_TYPES, read_body
from api.rest.describe import STRUCTURE_BODY, answer, refusals
from api.rest.errors import Refusal
from api.rest.etags import etag, is_current
from api.rest.graphs import read_limited
from api.rest.predictions import Sha256
from api.rest.state import state_of
from api.rest.wire import respond, wants_msgpack
from api.words import SCHEMA_VERSION

router = APIRouter(prefix="/v1", tags=["inspection"])
_NUMBER: dict[str, Any] = {"type": "integer"}
_OBJECTS: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
INSPECTED = answer(
    "Operators with shapes, MACs, parameters and bytes, and the memory plan, as `perfsage inspect` says.",
    {
        "type": "object",
        "required": ["schema_version", "graph_id", "macs", "parameters", "operators", "memory_plan"],
        "properties": {
            "schema_version": {"type": "string"},
            "model_id": {"type": "string"},
            "graph_id": {"type": "string"},
            "macs": _NUMBER,
            "parameters": _NUMBER,
            "operators": _OBJECTS,
            "memory_plan": {"type": "object"},
        },
    },
)


@router.post(
    "/inspect",
    summary="Show a model's operators, exact costs and memory plan",
    openapi_extra={"requestBody": STRUCTURE_BODY},
    responses={200: INSPECTED, **refusals(408, 413, 415, 422, 503)},
)
async def inspect(request: Request) -> Response:
    """Show what follows from the model alone; a cost that is not known is null."""
    state = state_of(request)
    with state.admission.predicting(request.scope):
        body = await read_body(request, state.settings, RAW_TYPES)
        value = await state.compute(lambda: _inspection(read_limited(body.data, state.settings)))
    return respond(value, packed=wants_msgpack(request.headers.get("accept", "")))


@router.get(
    "/models/{sha256}/inspection",
    summary="Inspect an uploaded model; the answer has an ETag",
    responses={
        200: INSPECTED,
        304: {"description": "The answer that the client has is current."},
        **refusals(404, 422, 503),
    },
)
async def model_inspection(request: Request, sha256: Sha256) -> Response:
    """Show an uploaded model; names of tensors are those of the file."""
    state, packed = state_of(request), wants_msgpack(request.headers.get("accept", ""))
    found = await state.in_database(lambda: state.shelf.get(sha256))
    if found is None:
        hint = f"Upload it first: PUT /v1/models/{sha256}."
        raise Refusal(404, "There is no model with this sha256.", slug="unknown-model", hint=hint)
    tag = etag(sha256, request.app.version, str(packed))
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_current(request, tag):
        return Response(None, 304, headers | {"Vary": "Accept"})
    with state.admission.predicting(request.scope):
        value = await state.compute(lambda: _inspection(read_limited(found, state.settings)))
    return respond(value, packed=packed, headers=headers)


def _inspection(graph: Any) -> dict[str, Any]:
    from api.workflows.inspect import inspect_graph

    value = inspect_graph(graph).to_dict()
    del value["path"]
    return {"schema_version": SCHEMA_VERSION, **value}
