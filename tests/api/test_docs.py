"""The documentation is what the program says: run this file as a program to write docs/cli.md anew."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

from api.cli.main import app, run
from api.problems import TITLES
from tests.api.support import ROOT

DOCS = ROOT / "docs"
WIDTH = "100"
INTRODUCTION = """# The command line

Every command prints a table for people, or with `--json` exactly one JSON document on stdout; progress, logs
and errors go to stderr. With `--json` an error is also one JSON object on stdout, in the words of RFC 9457.
Exit statuses stand in [api/error_pages/](../api/error_pages/): 0 is success, 2 a command line that could not
be understood, 130 Ctrl-C. `perfsage --install-completion` adds completion to your shell.

Databases are files, or URLs such as `postgresql://user@host/name`. `PERFSAGE_PREDICTOR` names the predictor
that `predict` and `serve` use without `--predictor`.
"""


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command, the program itself first."""
    yield ()
    for registered in app.registered_commands:
        assert registered.callback is not None
        yield (registered.name or registered.callback.__name__,)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        name = str(group.typer_instance.info.name)
        yield (name,)
        for registered in group.typer_instance.registered_commands:
            assert registered.callback is not None
            yield (name, registered.name or registered.callback.__name__)


def cli_page() -> str:
    """Return docs/cli.md as the program's own help makes it."""
    parts = [INTRODUCTION]
    for command in commands():
        title = " ".join(("perfsage", *command))
        parts.append(f"## {title}\n\n```\n{_help(command)}\n```\n")
    return "\n".join(parts)


def _help(command: tuple[str, ...]) -> str:
    output = io.StringIO()
    width = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(output):
            assert run([*command, "--help"]) == 0
    finally:
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    return "\n".join(line.rstrip() for line in output.getvalue().strip().splitlines())


def test_the_command_line_page_is_what_help_says() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == cli_page()


def test_the_rest_page_lists_every_problem_of_the_service() -> None:
    page = (DOCS / "rest.md").read_text(encoding="utf-8")
    for slug in TITLES:
        text = (ROOT / "api" / "error_pages" / f"{slug}.md").read_text(encoding="utf-8")
        if "REST: status" in text and "Python:" not in text:
            assert f"(../api/error_pages/{slug}.md)" in page, slug


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
