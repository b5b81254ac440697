"""Requests as OpenTelemetry spans, sent where the OTEL_* environment variables say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from perfsage.errors import MissingExtraError

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import Span, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise MissingExtraError(error.name or "opentelemetry-sdk", "tracing") from error


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The span of one request."""

    span: Span

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits."""
        return format_trace_id(self.span.get_span_context().trace_id)

    def end(self, scope: Scope, status: int) -> None:
        """Say what the request was and how it ended; no answer (0), or one of 500 and above, is an error."""
        route = getattr(scope.get("route"), "path", None)
        if route:
            self.span.update_name(f"{scope['method']} {route}")
            self.span.set_attribute("http.route", route)
        if status:
            self.span.set_attribute("http.response.status_code", status)
        if status == 0 or status >= 500:
            self.span.set_status(Status(StatusCode.ERROR))


class Tracing:
    """Starts spans and sends them in the background; `OTEL_SERVICE_NAME` renames the service."""

    def __init__(self) -> None:
        named = "OTEL_SERVICE_NAME" in os.environ
        resource = Resource.create({} if named else {SERVICE_NAME: "perfsage"})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("perfsage")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, scope: Scope, headers: Headers) -> Iterator[RequestSpan]:
        """Run a request inside a span, a child of the caller's where `traceparent` names one."""
        carrier = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        with self._tracer.start_as_current_span(
            scope["method"],
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.path": scope["path"][:200]},
        ) as span:
            assert isinstance(span, Span)
            yield RequestSpan(span)

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()
