"""Entity tags: what an answer depends on, hashed, so that a client need not be sent what it has."""

from __future__ import annotations

import hashlib

from starlette.requests import Request

from perfsage.prediction import SCHEMA_VERSION


def etag(*parts: str) -> str:
    """Return a strong entity tag of what the answer depends on, and of the schema's version."""
    return (
        '"' + hashlib.blake2b("\0".join((SCHEMA_VERSION, *parts)).encode(), digest_size=16).hexdigest() + '"'
    )


def is_current(request: Request, tag: str) -> bool:
    """Return whether the client has the answer with this tag already (`If-None-Match`)."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in given.split(","))
