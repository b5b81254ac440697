"""A request's body, read within the limits on bytes, parts and seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message, Receive

from api.rest.errors import Refusal
from api.rest.settings import Settings
from api.rest.wire import JSON, MSGPACK_TYPES

RAW_TYPES = ("application/octet-stream", "application/vnd.tflite")
MULTIPART = "multipart/form-data"
OBJECT_TYPES = (JSON, *MSGPACK_TYPES)


@dataclass(slots=True)
class Body:
    """What arrived: the bytes of a body, or the parts of a form and its fields `device` and `metric`."""

    media_type: str
    data: bytes = b""
    parts: list[tuple[str | None, bytes]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)


async def read_body(request: Request, settings: Settings, accepted: Sequence[str]) -> Body:
    """Read the body; Refusal 408, 413 or 415 when it is too slow, too large or of another type."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in accepted:
        raise _unsupported(media_type, accepted)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        detail = f"A body with content encoding {encoding!r} is not supported."
        hint = "Send it as it is; a structure may be compressed inside."
        headers = {"Accept-Encoding": "identity"}
        raise Refusal(415, detail, where="header Content-Encoding", hint=hint, headers=headers)
    limited = Request(request.scope, receive=_limited(request, settings.max_body_bytes))
    try:
        async with asyncio.timeout(settings.max_body_seconds):
            if media_type == MULTIPART:
                return await _read_form(limited, settings)
            return Body(media_type, await limited.body())
    except TimeoutError:
        detail = f"The body did not arrive within {settings.max_body_seconds:g} s."
        raise Refusal(408, detail, headers={"Connection": "close"}) from None


async def _read_form(request: Request, settings: Settings) -> Body:
    async with request.form(max_files=settings.max_models, max_fields=256, max_part_size=1024) as form:
        _refuse_unknown_fields(form)
        parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        return Body(
            MULTIPART,
            parts=[(part.filename or None, await part.read()) for part in parts],
            devices=[value for value in form.getlist("device") if isinstance(value, str)],
            metrics=[value for value in form.getlist("metric") if isinstance(value, str)],
        )


def _refuse_unknown_fields(form: FormData) -> None:
    for name, value in form.multi_items():
        if isinstance(value, str) and name not in ("device", "metric"):
            hint = "Text fields are device and metric; a model is a part with a file name."
            raise Refusal(422, f"The form has an unknown field {name!r}.", where="body", hint=hint)


def _unsupported(media_type: str, accepted: Sequence[str]) -> Refusal:
    detail = f"A body of type {media_type!r} is not supported." if media_type else "The body has no type."
    hint = f"This resource takes {', '.join(accepted)}."
    headers = {"Accept-Post": ", ".join(accepted)}
    return Refusal(415, detail, where="header Content-Type", hint=hint, headers=headers)


def _limited(request: Request, limit_bytes: int) -> Receive:
    """Return the request's receive channel, which refuses the body as soon as it exceeds the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limit_bytes:
        raise _too_large(limit_bytes)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit_bytes:
            raise _too_large(limit_bytes)
        return message

    return receive


def _too_large(limit_bytes: int) -> Refusal:
    hint = "The service's setting max_body_bytes decides; several models may go in several requests."
    detail = f"The body is larger than {limit_bytes:,} bytes."
    return Refusal(413, detail, where="body", hint=hint, headers={"Connection": "close"})
