"""From an exception to what the user sees: text on stderr, a problem object with --json, an exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from api.cli.console import print_json, printable
from api.problems import problem, problem_of, sentence
from perfsage.errors import PerfsageError

USAGE_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130
INTERNAL_EXIT_CODE = 70


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Show `error`, and return the process's exit status."""
    body, slug, exit_code = _classify(error)
    for line in _lines(body, slug):
        print(printable(line), file=sys.stderr)
    if "--json" in arguments:
        print_json(body | {"exit_code": exit_code})
    return exit_code


def _classify(error: BaseException) -> tuple[dict[str, Any], str, int]:
    if isinstance(error, PerfsageError):
        return problem_of(error), error.slug, error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return problem("interrupted", "Interrupted"), "interrupted", INTERRUPTED_EXIT_CODE
    if isinstance(error, typer.TyperException):
        hint = "Add --help to the command to see what it takes."
        detail = sentence(error.format_message())
        return problem("usage", detail, hint=hint), "usage", USAGE_EXIT_CODE
    if isinstance(error, OSError):
        return _os_error(error), "invalid-input", 12
    hint = "Please report it. PERFSAGE_TRACEBACK=1 shows where it happened."
    detail = sentence(f"{type(error).__name__}: {error}")
    return problem("internal", detail, hint=hint), "internal", INTERNAL_EXIT_CODE


def _os_error(error: OSError) -> dict[str, Any]:
    where = str(error.filename) if error.filename is not None else None
    return problem("invalid-input", sentence(error.strerror or str(error)), where=where)


def _lines(body: dict[str, Any], slug: str) -> list[str]:
    if slug == "interrupted":
        return ["Interrupted."]
    lines = [f"Error: {body['detail']}"]
    if body["where"]:
        lines.append(f"Where: {body['where']}")
    if body["hint"]:
        lines.append(f"Hint: {body['hint']}")
    return [*lines, f"More: perfsage explain {slug}"]
