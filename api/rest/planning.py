"""`POST /v1/splits` and `POST /v1/exits`: plans for one model, made from its predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.rest.body import RAW_TYPES, read_body
from api.rest.describe import STRUCTURE_BODY, answer, refusals
from api.rest.graphs import read_limited
from api.rest.state import state_of
from api.rest.wire import respond, wants_msgpack

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.predictor import Predictor

router = APIRouter(prefix="/v1", tags=["planning"])

_STATUSES = refusals(400, 408, 413, 415, 422, 503)
_SPLITS = answer(
    "Every cut with its cost, and the best one.",
    {
        "type": "object",
        "required": ["schema_version", "device", "server", "link", "objective", "mode", "best", "splits"],
        "properties": {"splits": {"type": "array", "items": {"type": "object"}}},
    },
)
_EXITS = answer(
    "Every place where a head could answer early, with what was spent until there.",
    {
        "type": "object",
        "required": ["schema_version", "device", "classes", "mode", "latency_ms", "energy_mj", "exits"],
        "properties": {"exits": {"type": "array", "items": {"type": "object"}}},
    },
)


class SplitQuery(BaseModel):
    """Device, server and link; `transfer_bits` sends elements in so many bits."""

    model_config = ConfigDict(extra="forbid")

    device: str
    server: str
    bandwidth_mbit_s: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
    latency_ms: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0.0
    transfer_bits: Annotated[int, Field(ge=8, le=32)] | None = None
    nj_per_byte: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None = None
    objective: Literal["latency", "energy"] = "latency"


class ExitQuery(BaseModel):
    """The device, and the classes of a head."""

    model_config = ConfigDict(extra="forbid")

    device: str
    classes: Annotated[int, Field(ge=1, le=10_000_000)] | None = None


@router.post(
    "/splits",
    summary="Find where to cut a model between a device and a server",
    openapi_extra={"requestBody": STRUCTURE_BODY},
    responses={200: _SPLITS, **_STATUSES},
)
async def create_splits(request: Request, wanted: Annotated[SplitQuery, Query()]) -> Response:
    """Price every cut of the body's model; sizes are in bytes, times in ms, energies in mJ."""
    from perfsage.planning import Link, plan_split

    link = Link(
        bandwidth_mbit_s=wanted.bandwidth_mbit_s,
        latency_ms=wanted.latency_ms,
        transfer_bits=wanted.transfer_bits,
        nj_per_byte=wanted.nj_per_byte,
    )

    def plan(predictor: Predictor, graph: Graph) -> dict[str, Any]:
        found = plan_split(
            predictor,
            graph,
            device=wanted.device,
            server=wanted.server,
            link=link,
            objective=wanted.objective,
        )
        return found.to_dict()

    return await _planned(request, plan)


@router.post(
    "/exits",
    summary="Say what leaving a model early would cost",
    openapi_extra={"requestBody": STRUCTURE_BODY},
    responses={200: _EXITS, **_STATUSES},
)
async def create_exits(request: Request, wanted: Annotated[ExitQuery, Query()]) -> Response:
    """List the candidate exits of the body's model on a device."""
    from perfsage.planning import plan_exits

    def plan(predictor: Predictor, graph: Graph) -> dict[str, Any]:
        return plan_exits(predictor, graph, device=wanted.device, classes=wanted.classes).to_dict()

    return await _planned(request, plan)


async def _planned(request: Request, plan: Callable[[Predictor, Graph], dict[str, Any]]) -> Response:
    state = state_of(request)
    with state.admission.predicting(request.scope):
        body = await read_body(request, state.settings, RAW_TYPES)
        predictor = state.predictor
        made = await state.compute(lambda: plan(predictor, read_limited(body.data, state.settings)))
    return respond(made, packed=wants_msgpack(request.headers.get("accept", "")))
