"""`perfsage suggest`: the networks most worth measuring next."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.suggest import SuggestedNetwork

EXAMPLES = examples(
    "perfsage suggest --space kws --count 20 --output to-measure",
    "perfsage suggest --predictor my-predictor --space nasbench201 --count 10 --json",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Name the networks most worth measuring next.", epilog=EXAMPLES)(suggest)


def suggest(
    space: Annotated[str, typer.Option("--space", "-s", help="The search space to choose from.")],
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many networks to name.")],
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    candidates: Annotated[int, typer.Option(min=1, help="How many networks to choose from.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The first candidate's seed.")] = 0,
    dtype: Annotated[str, typer.Option(help="int8 or float32.")] = "int8",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the .tflite files to this folder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Name the networks of a space that tell most about a new device, cheap ones first.

    Measure them, and give the results to the command `adapt`.
    """
    from api.workflows.suggest import SuggestionRequest, suggest_networks

    request = SuggestionRequest(predictor, space, count, candidates, seed, dtype, output)
    chosen = suggest_networks(request)
    if json:
        print_json({"schema_version": "1.0", "space": space, "networks": [_document(one) for one in chosen]})
    else:
        _show(chosen)


def _document(one: SuggestedNetwork) -> dict[str, Any]:
    return {
        "seed": one.seed,
        "architecture": one.architecture,
        "gain": one.gain,
        "cost_ms": one.cost_ms,
        "path": str(one.path) if one.path else None,
    }


def _show(chosen: list[SuggestedNetwork]) -> None:
    from rich.table import Table

    table = Table("seed", "tells (nats)", "predicted cost", "network")
    for one in chosen:
        text = str(one.path) if one.path else jsonlib.dumps(one.architecture)
        table.add_row(str(one.seed), f"{one.gain:.2f}", f"{one.cost_ms:.4g} ms", _shortened(text))
    stdout().print(table)


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else text[:97] + "..."
