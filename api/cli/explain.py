"""`perfsage explain`: the documentation page of an error."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.console import JsonOption, print_json
from api.cli.help import examples


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Show what an error means.", epilog=examples("perfsage explain invalid-model"))(
        explain
    )


def explain(
    slug: Annotated[str, typer.Argument(help="The error's name, as the message shows it.")],
    json: JsonOption = False,
) -> None:
    """Show what an error means and what to do about it."""
    from api.problems import TITLES, TYPE_PREFIX, error_page

    page = error_page(slug)
    if json:
        print_json({"type": f"{TYPE_PREFIX}{slug}", "title": TITLES[slug], "page": page})
    else:
        typer.echo(page)
