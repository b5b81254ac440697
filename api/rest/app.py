"""The service as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from api.problems import TITLES, TYPE_PREFIX, error_page
from api.rest import adaptations, catalogue, errors, inspections, measurements, metrics, planning, predictions
from api.rest.describe import complete, refusals
from api.rest.gate import Gate
from api.rest.operations import Observed
from api.rest.operations_reload import watch
from api.rest.protocol import ADMISSION
from api.rest.settings import Settings
from api.rest.state import State, state_of
from api.web import routes as page

if TYPE_CHECKING:
    from api.rest.operations_tracing import Tracing
    from perfsage.predictor import Predictor

router = APIRouter(tags=["operation"])


def create_app(settings: Settings | None = None, *, predictor: Predictor | None = None) -> FastAPI:
    """Return the application; without a predictor it loads the settings' one after it has started.

    Example: `uvicorn --factory api.rest.app:create_app`.
    """
    from importlib.metadata import version

    app = FastAPI(
        title="PerfSAGE",
        version=version("perfsage"),
        summary="What a neural network costs on an edge device: latency, energy and memory.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    state = State(settings or Settings(), predictor)
    app.state.service = state
    for part in (predictions.router, catalogue.router, measurements.router, adaptations.router, router):
        app.include_router(part)
    for extra in (planning.router, inspections.router, page.router):
        app.include_router(extra)
    errors.install(app)
    app.add_middleware(Gate, state=state)
    app.state.tracing = _tracing(state.settings)
    app.add_middleware(Observed, tracing=app.state.tracing)
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        return complete(generate())

    app.openapi = openapi  # type: ignore[method-assign]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    state: State = app.state.service
    tasks = [asyncio.create_task(work) for work in (state.load(), watch(state))]
    yield {ADMISSION: state.admission}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if app.state.tracing:
        app.state.tracing.close()
    state.close()


def _tracing(settings: Settings) -> Tracing | None:
    if not settings.tracing:
        return None
    from api.rest.operations_tracing import Tracing

    return Tracing()


@router.get("/healthz", responses=refusals())
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses=refusals(503))
async def readyz(request: Request) -> dict[str, str]:
    """Say that predictions can be answered; 503 with the reason until then."""
    return {"status": "ready", "predictor": state_of(request).predictor.info.name}


@router.get("/metrics", response_class=PlainTextResponse, responses=refusals())
async def show_metrics(request: Request) -> Response:
    """Return this process's metrics in Prometheus' text format."""
    return Response(state_of(request).metrics_text(), media_type=metrics.MEDIA_TYPE)


@router.get(TYPE_PREFIX + "{slug}", response_class=PlainTextResponse, include_in_schema=False)
async def explain(slug: str) -> Any:
    """Show the page of a problem type."""
    if slug not in TITLES:
        raise errors.Refusal(404, f"There is no problem type {slug!r}.")
    return PlainTextResponse(error_page(slug), media_type="text/markdown")
