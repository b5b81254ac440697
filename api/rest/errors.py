"""Every refusal and failure of the service, as RFC 9457 application/problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from api.problems import problem, problem_of
from perfsage.errors import (
    InvalidInputError,
    InvalidModelError,
    PerfsageError,
    ServiceError,
    UnknownNameError,
)

MEDIA_TYPE = "application/problem+json"

STATUS_SLUGS = {
    404: "not-found",
    405: "method-not-allowed",
    401: "unauthenticated",
    403: "forbidden",
    408: "body-too-slow",
    413: "body-too-large",
    415: "unsupported-media-type",
    429: "rate-limited",
    503: "busy",
}
"""Problem types of the statuses that say everything; other 4xx are `invalid-request`."""


class DeadlineError(ServiceError):
    """A model of a batch was not begun before the request's time was over."""

    slug = "deadline"


class Refusal(HTTPException):
    """A request that the service does not serve, with its hint; `slug` names the problem type."""

    def __init__(
        self,
        status_code: int,
        detail: str,
        *,
        slug: str | None = None,
        hint: str | None = None,
        where: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status_code, detail, headers=headers)
        self.slug = slug or STATUS_SLUGS.get(status_code, "invalid-request")
        self.hint = hint
        self.where = where


def install(app: FastAPI) -> None:
    """Make `app` answer every deliberate error with a problem object; the gate answers the others."""
    app.add_exception_handler(PerfsageError, _answered)
    app.add_exception_handler(HTTPException, _answered)
    app.add_exception_handler(RequestValidationError, _invalid_parameters)


def status_of(error: PerfsageError) -> int:
    """Return the HTTP status of a deliberate error: the request's fault is 422, ours is 500."""
    faults = (InvalidModelError, InvalidInputError, UnknownNameError)
    if isinstance(error, faults):
        return 422
    return 503 if isinstance(error, DeadlineError) else 500


def respond(
    request: Request, body: dict[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the response of one problem, with the request's path as its instance."""
    body = body | {"instance": request.url.path}
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def refusal_response(request: Request, error: Exception) -> JSONResponse | None:
    """Return the response of a deliberate error or refusal, None for any other error."""
    if isinstance(error, PerfsageError):
        status = status_of(error)
        return respond(request, problem_of(error, status=status), status)
    if not isinstance(error, HTTPException):
        return None
    refusal = error if isinstance(error, Refusal) else _refusal(request, error)
    body = problem(
        refusal.slug, refusal.detail, status=refusal.status_code, where=refusal.where, hint=refusal.hint
    )
    return respond(request, body, refusal.status_code, refusal.headers)


async def _answered(request: Request, error: Exception) -> JSONResponse:
    response = refusal_response(request, error)
    assert response is not None
    return response


def _refusal(request: Request, error: HTTPException) -> Refusal:
    """Say in our words what the framework refused."""
    path = request.url.path
    if error.status_code == 404:
        hint = "GET /openapi.json lists every resource."
        return Refusal(404, f"There is nothing at {path}.", hint=hint)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        hint = f"It takes {allowed}." if allowed else "GET /openapi.json lists its methods."
        return Refusal(405, f"{path} does not take {request.method}.", hint=hint, headers=error.headers)
    hint = "GET /openapi.json describes every request."
    return Refusal(error.status_code, f"{error.detail}.".replace("..", "."), hint=hint, headers=error.headers)


async def _invalid_parameters(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    body = problem(
        "invalid-request",
        f"The request's {where} is not valid: {first['msg']}.",
        status=422,
        where=where,
        hint="GET /openapi.json describes every parameter.",
    )
    return respond(request, body, 422)
