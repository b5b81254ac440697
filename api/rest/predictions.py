"""`POST /v1/predictions`, `PUT /v1/models/{sha256}` and `GET /v1/models/{sha256}/predictions`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.rest.admission import SMALL_BYTES
from api.rest.body import MULTIPART, OBJECT_TYPES, RAW_TYPES, Body, read_body
from api.rest.candidates import Wanted, from_hash, parse
from api.rest.describe import ANSWER, REQUEST_BODY, STRUCTURE_BODY, UPLOADED, refusals
from api.rest.engine import Answer, Choice, Engine, Steps
from api.rest.errors import Refusal
from api.rest.etags import etag, is_current
from api.rest.graphs import UnknownModelError, read_limited
from api.rest.state import State, state_of
from api.rest.wire import respond, wants_msgpack

router = APIRouter(prefix="/v1", tags=["predictions"])

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The sha256 of the .tflite file, in hex.")]


class Selection(BaseModel):
    """Which devices and metrics to predict, all without a choice; and whether to list operators."""

    model_config = ConfigDict(extra="forbid")

    device: list[str] = []
    metric: list[str] = []
    operators: bool = True
    predictor: str | None = Field(default=None, max_length=200)
    """Another predictor than the active one, by the name that its adaptation was given."""


@router.post(
    "/predictions",
    summary="Predict many models on many devices",
    openapi_extra={"requestBody": REQUEST_BODY},
    responses={200: ANSWER, **refusals(400, 408, 413, 415, 422, 503)},
)
async def create_predictions(request: Request, choice: Annotated[Selection, Query()]) -> Response:
    """Predict each model of the body on each device.

    A model that cannot be predicted stands under `errors`; where the body itself is the model, the whole
    request is refused instead.
    """
    state = state_of(request)
    body = await read_body(request, state.settings, (*RAW_TYPES, MULTIPART, *OBJECT_TYPES))
    answer = await _answer(request, state, body, choice)
    state.metrics.count(answer.models, answer.cached, answer.failed)
    return Response(answer.body, 200, {"Vary": "Accept"}, answer.media_type)


async def _answer(request: Request, state: State, body: Body, selection: Selection) -> Answer:
    engine = await _engine(state, selection)
    packed = wants_msgpack(request.headers.get("accept", ""))
    # A small body is parsed on the event loop: handing it to a thread costs more.
    small = sum(len(data) for _, data in body.parts) + len(body.data) <= SMALL_BYTES

    def understood() -> tuple[Wanted, Choice]:
        wanted = parse(body, state.settings.max_models)
        devices, metrics = [*selection.device, *wanted.devices], [*selection.metric, *wanted.metrics]
        operators = selection.operators and wanted.operators
        return wanted, engine.choice(devices, metrics, operators=operators, packed=packed)

    def steps() -> Steps:
        return (yield from engine.steps(*understood()))

    if small:
        wanted, choice = understood()
        if (known := engine.recall(wanted, choice)) is not None:
            return known
    with state.admission.predicting(request.scope):
        return await state.predict(request, engine.steps(wanted, choice) if small else steps())


@router.put(
    "/models/{sha256}",
    summary="Upload a model, to name it by its hash from then on",
    openapi_extra={"requestBody": STRUCTURE_BODY},
    responses={200: UPLOADED, 201: UPLOADED, **refusals(408, 413, 415, 422, 503)},
)
async def upload(request: Request, sha256: Sha256) -> Response:
    """Keep a model, without its weights; uploading it again changes nothing."""
    state = state_of(request)
    with state.admission.predicting(request.scope):
        body = await read_body(request, state.settings, RAW_TYPES)

        def work() -> tuple[bool, str]:
            graph = read_limited(body.data, state.settings)
            return state.shelf.put(sha256, graph, body.data), graph.graph_id

        is_new, graph_id = await state.compute(work)
    value = {"model_id": sha256, "graph_id": graph_id}
    headers = {"Location": f"/v1/models/{sha256}"} if is_new else {}
    packed = wants_msgpack(request.headers.get("accept", ""))
    return respond(value, packed=packed, status=201 if is_new else 200, headers=headers)


@router.get(
    "/models/{sha256}",
    summary="Say whether a model was uploaded",
    responses={200: UPLOADED, **refusals(404, 422)},
)
async def show_model(request: Request, sha256: Sha256) -> Response:
    """Return the model's ids."""
    state = state_of(request)
    found = await state.in_database(lambda: state.shelf.get(sha256))
    if found is None:
        raise _unknown(sha256)
    graph = await state.compute(lambda: read_limited(found, state.settings))
    value = {"model_id": sha256, "graph_id": graph.graph_id}
    return respond(value, packed=wants_msgpack(request.headers.get("accept", "")))


@router.get(
    "/models/{sha256}/predictions",
    summary="Predict an uploaded model; the answer has an ETag",
    responses={
        200: ANSWER,
        304: {"description": "The answer that the client has is current."},
        **refusals(404, 422, 503),
    },
)
async def model_predictions(
    request: Request, sha256: Sha256, selection: Annotated[Selection, Query()]
) -> Response:
    """Return the predictions of an uploaded model; its ETag changes with the predictor and the schema."""
    state, packed = state_of(request), wants_msgpack(request.headers.get("accept", ""))
    engine = await _engine(state, selection)
    choice = engine.choice(selection.device, selection.metric, operators=selection.operators, packed=packed)
    tag = etag(sha256, engine.predictor.version, repr(choice))
    headers: dict[str, Any] = {"ETag": tag, "Vary": "Accept", "Cache-Control": "private, no-cache"}
    wanted = Wanted([from_hash(None, sha256)], [None], (), (), single=True)
    if is_current(request, tag) and engine.recall(wanted, choice) is not None:
        return Response(None, 304, headers)
    with state.admission.predicting(request.scope):
        try:
            answer = await state.predict(request, engine.steps(wanted, choice))
        except UnknownModelError:
            raise _unknown(sha256) from None
    state.metrics.count(answer.models, answer.cached, answer.failed)
    return Response(answer.body, 200, headers, answer.media_type)


def _unknown(sha256: str) -> Refusal:
    hint = f"Upload it first: PUT /v1/models/{sha256}."
    return Refusal(404, "There is no model with this sha256.", slug="unknown-model", hint=hint)


async def _engine(state: State, selection: Selection) -> Engine:
    if selection.predictor is None:
        return state.engine
    return await state.compute(lambda: state.engine_named(selection.predictor))
