"""`GET /` and `/web/{name}`: the page and its parts, which need nothing from anywhere else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.rest.errors import Refusal
from api.rest.etags import is_current

router = APIRouter(include_in_schema=False)

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
"""No script, style, image or connection but this service's own, and no text that becomes markup."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the page."""

    content: bytes
    media_type: str
    etag: str


@cache
def parts() -> dict[str, Part]:
    """Return the files of the page by their names; nothing else can be asked for."""
    found = {}
    for file in resources.files("api.web").joinpath("static").iterdir():
        media_type = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            found[file.name] = Part(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page."""
    return _respond(request, parts()["index.html"])


@router.get("/web/{name}")
async def part(request: Request, name: str) -> Response:
    """Return a script, a style sheet or a picture of the page."""
    found = parts().get(name)
    if found is None:
        raise Refusal(404, "The page has no such part.", hint="GET / is the page.")
    return _respond(request, found)


def _respond(request: Request, part: Part) -> Response:
    headers = {"ETag": part.etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if is_current(request, part.etag):
        return Response(None, 304, headers)
    return Response(part.content, 200, headers, part.media_type)
