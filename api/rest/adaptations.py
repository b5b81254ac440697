"""`POST /v1/adaptations`: a predictor that also knows a device, learned from what was measured on it."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from api.rest.describe import answer, refusals
from api.rest.errors import Refusal
from api.rest.state import State, state_of
from api.rest.wire import respond, wants_msgpack
from perfsage.errors import InvalidInputError, PerfsageError, UnknownNameError

router = APIRouter(prefix="/v1/adaptations", tags=["adaptations"])

POLL_SECONDS = 0.5
_JOB = answer("The job.", {"type": "object", "required": ["id", "status", "progress"]})
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Adaptation(BaseModel):
    """Which device to learn, and how the new predictor is called."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(min_length=1, max_length=200)
    predictor: Name


@router.post(
    "",
    status_code=202,
    summary="Learn a device from its measurements",
    responses={202: _JOB, **refusals(404, 422, 503)},
)
async def adapt(request: Request, wanted: Adaptation) -> Response:
    """Begin to learn a device from the measurements that were added for it; the answer is a job.

    Once it is done, `predictor=NAME` in a prediction asks the new predictor.
    """
    from api.rest import jobs

    state = state_of(request)
    store, base = state.store, state.predictor
    output = state.adaptations / wanted.predictor
    if output.exists():
        raise InvalidInputError(f"there is a predictor {wanted.predictor!r} already", where="predictor")
    job, structures = await state.in_database(lambda: _collect(state, wanted.device))
    job |= {"predictor": str(base.folder), "output": str(output)}
    job_id = await state.in_database(lambda: jobs.begin(store, "adaptation", wanted.device))
    state.start(_run(state, job_id, job, structures))
    found = await state.in_database(lambda: jobs.read(store, job_id))
    headers = {"Location": f"/v1/adaptations/{job_id}"}
    return respond(found, packed=_packed(request), status=202, headers=headers)


@router.get("/{job_id}", summary="Show a job", responses={200: _JOB, **refusals(404, 422)})
async def show(request: Request, job_id: JobId) -> Response:
    """Show how far a job is: `status` is queued, running, done or failed."""
    return respond(await _find(state_of(request), job_id), packed=_packed(request))


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events.", "content": {"text/event-stream": {}}},
        **refusals(404, 422),
    },
)
async def follow(request: Request, job_id: JobId) -> Response:
    """Send an event whenever the job's state changes, until it is done or has failed."""
    state = state_of(request)
    first = await _find(state, job_id)
    return StreamingResponse(_events(state, job_id, first), media_type="text/event-stream")


async def _events(state: State, job_id: str, found: dict[str, Any]) -> AsyncIterator[str]:
    from api.rest import jobs

    sent: dict[str, Any] = {}
    while True:
        if found != sent:
            yield f"event: {found['status']}\ndata: {json.dumps(found)}\n\n"
            sent = found
        if jobs.has_ended(found["status"]):
            return
        await asyncio.sleep(POLL_SECONDS)
        found = await _find(state, job_id)


async def _find(state: State, job_id: str) -> dict[str, Any]:
    from api.rest import jobs

    store = state.store
    found = await state.in_database(lambda: jobs.read(store, job_id))
    if found is None:
        raise Refusal(404, f"There is no adaptation {job_id}.", hint="POST /v1/adaptations begins one.")
    return found


def _collect(state: State, name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what is known of a device: its description, headline values by model, and the models."""
    device = next((device for device in state.store.devices() if device.name == name), None)
    if device is None:
        hint = "POST /v1/measurements adds devices with their measurements."
        raise UnknownNameError(f"the dataset knows no device {name!r}", where="device", hint=hint)
    frame = state.store.frame(device=name)
    headline = {metric.value: definition for metric, definition in device.metrics.items()}
    frame = frame[(frame["value"] > 0) & (frame["definition"] == frame["metric"].map(headline))]
    values: dict[str, dict[str, float]] = {}
    for (model_id, metric), value in (
        frame.groupby(["model_id", "metric"], observed=True)["value"].median().items()
    ):
        values.setdefault(model_id, {})[metric] = float(value)
    structures = {model_id: state.shelf.get(model_id) or b"" for model_id in values}
    words = {"name": device.name, "kind": device.kind, "description": device.description, "metrics": headline}
    return {"device": words | {"descriptors": dict(device.descriptors)}, "values": values}, structures


async def _run(state: State, job_id: str, job: dict[str, Any], structures: dict[str, bytes]) -> None:
    from api.rest import jobs

    store = state.store

    async def say(status: str, **detail: Any) -> None:
        await state.in_database(lambda: jobs.update(store, job_id, status, **detail))

    async with state.one_adaptation:
        await say("running", progress=0.1, step="learning")
        try:
            found = await _in_process(job, structures, state.settings.max_adaptation_seconds)
        except (PerfsageError, OSError, ValueError) as error:
            found = {"problem": {"detail": str(error)}}
        if "problem" in found:
            await say("failed", progress=1.0, step="failed", problem=found["problem"])
        else:
            await say("done", progress=1.0, step="done", result=found["result"])


async def _in_process(job: dict[str, Any], structures: dict[str, bytes], seconds: float) -> dict[str, Any]:
    """Run the job in a process of its own, and return its result or problem."""
    with tempfile.TemporaryDirectory(prefix="perfsage-") as name:
        folder = FilePath(name)
        for model_id, structure in structures.items():
            (folder / f"{model_id}.structure").write_bytes(structure)
        (folder / "job.json").write_text(json.dumps(job))
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "api.rest.adapt_job", name)
        try:
            code = await asyncio.wait_for(process.wait(), seconds)
        except BaseException as error:
            process.kill()
            await process.wait()
            if isinstance(error, TimeoutError):
                raise InvalidInputError(f"learning took longer than {seconds:g} s") from None
            raise
        if code:
            raise InvalidInputError(f"the process that learned ended with status {code}")
        found: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return found


def _packed(request: Request) -> bool:
    return wants_msgpack(request.headers.get("accept", ""))
