"""Where output goes: results to stdout (a table, or exactly one JSON document), the rest to stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; progress stays on stderr.")
]


def print_json(document: Any) -> None:
    """Print one JSON document on stdout; NaN and infinity are refused, since JSON has neither."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def printable(text: str) -> str:
    """Return `text` without control characters: names in a model's file may hold terminal commands."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def stdout() -> Console:
    """Return the console for tables; without a terminal, lines are wide enough not to be cut."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)


def stderr() -> Console:
    """Return the console for progress, logs and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def progress(unit: str) -> Progress:
    """Return a progress bar on stderr with count, rate and remaining time."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=stderr(),
    )
