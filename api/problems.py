"""Errors as RFC 9457 problem objects, in the same words for the command line and the service.

Each error's slug names a page in api/error_pages, which ships with the package, is
served under the problem's `type`, and is shown by `perfsage explain SLUG`.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from perfsage.errors import PerfsageError, UnknownNameError

TYPE_PREFIX = "/errors/"

TITLES = {
    "error": "Something went wrong",
    "invalid-model": "Not a TFLite model that can be read",
    "unknown-name": "No such name",
    "invalid-input": "A value, option or file cannot be used",
    "missing-extra": "An optional package is not installed",
    "dataset": "The database cannot do this",
    "schema-version": "The database is at another schema version",
    "predictor": "The predictor cannot be used",
    "service": "The service refused or failed",
    "device": "A device failed to measure",
    "device-transient": "A device failed, and may work when tried again",
    "device-stable": "A device failed, and trying again cannot help",
    "unsupported-model": "The device cannot run this model",
    "usage": "The command line could not be understood",
    "interrupted": "Interrupted",
    "not-found": "No such resource",
    "method-not-allowed": "This resource does not take this method",
    "body-too-slow": "The request body arrived too slowly",
    "body-too-large": "The request body is too large",
    "unsupported-media-type": "The request body's type is not supported",
    "invalid-request": "The request is not valid",
    "busy": "The service has no capacity at the moment",
    "not-ready": "The service is not ready",
    "unknown-model": "No model with this hash was uploaded",
    "deadline": "The request took too long",
    "unauthenticated": "An API key is needed",
    "forbidden": "The API key does not allow this",
    "rate-limited": "Too many requests",
    "idempotency-conflict": "The idempotency key was used for another request",
    "no-database": "The service has no database",
    "internal": "A defect in PerfSAGE",
}
"""Every slug that a user can meet; tests check that each has its page and every error class is here."""


def problem(
    slug: str, detail: str, *, status: int | None = None, where: str | None = None, hint: str | None = None
) -> dict[str, Any]:
    """Return the RFC 9457 object of one error, with `where` and `hint` as extension members (or null)."""
    body: dict[str, Any] = {"type": f"{TYPE_PREFIX}{slug}", "title": TITLES[slug]}
    if status is not None:
        body["status"] = status
    return body | {"detail": detail, "where": where, "hint": hint}


def problem_of(error: PerfsageError, *, status: int | None = None) -> dict[str, Any]:
    """Return the problem object of an error that PerfSAGE raised on purpose."""
    return problem(error.slug, sentence(error.what), status=status, where=error.where, hint=error.hint)


def sentence(text: str) -> str:
    """Return `text` with a capital letter and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def error_page(slug: str) -> str:
    """Return the Markdown page about one error; UnknownNameError when there is no such page."""
    if slug not in TITLES:
        raise UnknownNameError(f"there is no error page {slug!r}", hint=f"Known pages: {', '.join(TITLES)}.")
    page = resources.files("api").joinpath("error_pages", f"{slug}.md")
    return page.read_text(encoding="utf-8")
