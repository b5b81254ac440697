"""What makes a request traceable: its id, the caller's trace, and a span where tracing is on."""

from __future__ import annotations

import contextlib
import random
import re
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.rest.operations_logs import REQUEST_ID, TRACE_ID

if TYPE_CHECKING:
    from api.rest.operations_tracing import Tracing

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


class Observed:
    """The layer around all others: every answer says its request's id, and so does every line of the log.

    A caller's own `X-Request-Id` is kept where it is a plain name. `traceparent` is read as in W3C's Trace
    Context, with or without tracing.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing | None = None) -> None:
        self._app, self._tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers.get("x-request-id", ""))
        span = self._tracing.span(scope, headers) if self._tracing else contextlib.nullcontext()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with span as current:
            REQUEST_ID.set(request_id)
            TRACE_ID.set(current.trace_id if current else trace_id_of(headers.get("traceparent", "")))
            try:
                await self._app(scope, receive, sending)
            finally:
                if current:
                    current.end(scope, status)


def request_id_of(given: str) -> str:
    """Return the caller's id where it can stand in a log as it is, a new one otherwise."""
    # Not uuid4: asking the system for random bytes lets go of the interpreter, which then is busy predicting.
    return given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def trace_id_of(traceparent: str) -> str | None:
    """Return the trace's id of a valid `traceparent` header."""
    found = _TRACEPARENT.fullmatch(traceparent[:256])
    return found[1] if found else None
