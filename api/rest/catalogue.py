"""What can be predicted and by what: devices, predictors, spaces, and the service itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from api.rest.body import MULTIPART, OBJECT_TYPES, RAW_TYPES
from api.rest.describe import answer, listing, refusals
from api.rest.errors import Refusal
from api.rest.etags import etag, is_current
from api.rest.state import State, state_of
from api.rest.wire import JSON, MSGPACK, respond, wants_msgpack
from api.words import SCHEMA_VERSION, device_dict
from perfsage.metrics import parse_metric

router = APIRouter(prefix="/v1", tags=["catalogue"])
_ANY: dict[str, Any] = {"type": "object"}


class DeviceFilter(BaseModel):
    """Which devices to list: those that match everything that is given."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    """A part of the name."""
    kind: str | None = None
    metric: list[str] = []
    """Metrics that the device gives."""


@router.get(
    "/devices",
    summary="List devices",
    responses={200: answer("Devices.", listing("devices", _ANY)), **refusals(422, 503)},
)
async def list_devices(request: Request, wanted: Annotated[DeviceFilter, Query()]) -> Response:
    """List the devices that the predictor knows, with the definition of each of their metrics."""
    state = state_of(request)
    metrics = [parse_metric(name) for name in wanted.metric]
    devices = [
        device_dict(device)
        for device in state.predictor.devices
        if (wanted.name is None or wanted.name.lower() in device.name.lower())
        and (wanted.kind is None or wanted.kind == device.kind)
        and all(metric in device.metrics for metric in metrics)
    ]
    return _tagged(request, state, {"schema_version": SCHEMA_VERSION, "devices": devices}, repr(wanted))


@router.get(
    "/predictors",
    summary="List predictors",
    responses={200: answer("Predictors.", listing("predictors", _ANY)), **refusals(503)},
)
async def list_predictors(request: Request) -> Response:
    """List the predictor that answers, adapted ones, and those that ship with the package."""
    state = state_of(request)
    found = await state.compute(lambda: _predictors(state))
    return _tagged(request, state, {"schema_version": SCHEMA_VERSION, "predictors": found}, repr(found))


@router.get(
    "/predictors/{name}",
    summary="Show one predictor: its model card and evaluation",
    responses={200: answer("The predictor.", _ANY), **refusals(404, 422, 503)},
)
async def show_predictor(
    request: Request, name: Annotated[str, Path(max_length=200, description="A name, alias or version.")]
) -> Response:
    """Show what a predictor was trained on, what it knows, and how well it did on what it had not seen."""
    state = state_of(request)
    for found in await state.compute(lambda: _predictors(state, whole=True)):
        if name in (found["name"], found["version"], *found["aliases"]):
            return _tagged(request, state, {"schema_version": SCHEMA_VERSION, **found}, name)
    raise Refusal(404, f"There is no predictor {name!r}.", hint="GET /v1/predictors lists them.")


@router.get(
    "/spaces",
    summary="List search spaces",
    responses={200: answer("Spaces.", listing("spaces", _ANY)), **refusals()},
)
async def list_spaces(request: Request) -> Response:
    """List the spaces whose networks can be named by architecture or by seed."""
    from dataset.spaces import space_names

    value = {"schema_version": SCHEMA_VERSION, "spaces": [{"name": name} for name in space_names()]}
    return respond(value, packed=_packed(request))


@router.get(
    "/info",
    summary="Show versions, limits and formats",
    responses={200: answer("The service.", _ANY), **refusals()},
)
async def info(request: Request) -> Response:
    """Show what a client has to know of this service; it can be asked before the predictor is ready."""
    from importlib.metadata import version

    settings = state_of(request).settings
    limits = ("max_body_bytes", "max_models", "max_operators", "max_request_seconds", "requests_per_minute")
    value = {
        "schema_version": SCHEMA_VERSION,
        "version": version("perfsage"),
        "limits": {name: getattr(settings, name) for name in limits},
        "request_types": [*RAW_TYPES, MULTIPART, *OBJECT_TYPES],
        "answer_types": [JSON, MSGPACK],
        "keys_required": settings.keys_required,
        "has_database": settings.database is not None,
    }
    return respond(value, packed=_packed(request))


def _predictors(state: State, *, whole: bool = False) -> list[dict[str, Any]]:
    """Describe the predictor that answers, and the shipped ones; damaged ones are left out."""
    from perfsage.errors import PredictorError
    from perfsage.models.manifest import read_manifest
    from perfsage.predictor import PRETRAINED, pretrained_names

    active = state.predictor
    aliases = ["active", *(["default"] if state.settings.predictor == "default" else [])]
    found = [_predictor(active.manifest, active.version, aliases, whole)]
    adapted = sorted(path.parent for path in state.adaptations.glob("*/manifest.json"))
    for folder in (*adapted, *(PRETRAINED / name for name in pretrained_names())):
        try:
            manifest, version = read_manifest(folder)
        except PredictorError:
            continue
        if version != active.version:
            found.append(_predictor(manifest, version, [folder.name], whole))
    return found


def _predictor(manifest: Any, version: str, aliases: list[str], whole: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": manifest.name,
        "version": version,
        "aliases": aliases,
        "created_at": manifest.created_at,
        "feature_schema": manifest.feature_schema,
        "trained_on_graphs": manifest.trained_on_graphs,
        "devices": [entry.device.name for entry in (*manifest.devices, *manifest.adapted_devices)],
    }
    if whole:
        value["training"] = manifest.training
        value["evaluation"] = list(manifest.evaluation)
        value["labels"] = {
            entry.device.name: {metric.value: count for metric, count in entry.labels.items()}
            for entry in (*manifest.devices, *manifest.adapted_devices)
        }
    return value


def _tagged(request: Request, state: State, value: dict[str, Any], *parts: str) -> Response:
    packed = _packed(request)
    tag = etag(state.predictor.version, str(packed), *parts)
    headers = {"ETag": tag, "Vary": "Accept", "Cache-Control": "private, no-cache"}
    if is_current(request, tag):
        return Response(None, 304, headers)
    return respond(value, packed=packed, headers=headers)


def _packed(request: Request) -> bool:
    return wants_msgpack(request.headers.get("accept", ""))
