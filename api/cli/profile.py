"""`perfsage profile`: measure models on devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from profilers.profiler import Outcome

EXAMPLES = examples(
    "perfsage profile model.tflite --device host-cpu --device ethos-u55-128",
    "perfsage profile *.tflite --device tflm --db measurements.db",
    "perfsage profile model.tflite --device host-cpu --per-operator --json",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Measure models on devices.", epilog=EXAMPLES)(profile)


def profile(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="The .tflite files.")],
    device: Annotated[
        list[str], typer.Option("--device", "-d", help="A device (repeatable); see `perfsage devices`.")
    ],
    db: Annotated[
        str | None, typer.Option(help="Also store what was measured in this database (a file or a URL).")
    ] = None,
    per_operator: Annotated[bool, typer.Option(help="Measure every operator as well.")] = False,
    visits: Annotated[int, typer.Option(min=1, help="Latency is the minimum over this many visits.")] = 5,
    require_full_delegation: Annotated[
        bool,
        typer.Option(
            "--require-full-delegation",
            help="Phones: fail a model of which the delegate leaves operators to the CPU.",
        ),
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime, where it has any.")] = 1,
    json: JsonOption = False,
) -> None:
    """Measure models on devices: latency, energy, memory and storage, as far as each device can."""
    from api.workflows.profile import profile_models
    from profilers.profiler import Plan

    options: dict[str, str | int | float | bool] = {}
    if require_full_delegation:
        _refuse_other_than_phones(device)
        options["require_full_delegation"] = True
    plan = Plan(visits=visits, threads=threads, per_operator=per_operator, options=options)
    outcomes = profile_models(models, devices=device, plan=plan, database=db)
    if json:
        print_json(_document(outcomes))
    else:
        _show(outcomes)


def _refuse_other_than_phones(devices: list[str]) -> None:
    from perfsage.errors import InvalidInputError

    if others := [name for name in devices if not name.startswith("adb:")]:
        raise InvalidInputError(
            f"--require-full-delegation is nothing for {', '.join(others)}",
            hint="Delegates run on phones: adb:NAME of lab.toml, or adb:HOST:PORT.",
        )


def _document(outcomes: list[Outcome]) -> dict[str, object]:
    from api.words import SCHEMA_VERSION, measurement_dict

    listed = [
        {
            "path": str(outcome.model.path),
            "failure": outcome.failure,
            "notes": list(outcome.notes),
            "measurements": [measurement_dict(measurement) for measurement in outcome.measurements],
        }
        for outcome in outcomes
    ]
    return {"schema_version": SCHEMA_VERSION, "outcomes": listed}


def _show(outcomes: list[Outcome]) -> None:
    from rich.table import Table

    from api.cli.figures import figure

    table = Table("model", "device", "metric", "value", "definition", "mode")
    for outcome in outcomes:
        for m in outcome.measurements:
            value = figure(m.value, m.metric) if m.value is not None else f"unavailable: {m.unavailable}"
            definition = (
                m.definition if m.operator is None else f"{m.definition} of operator {m.operator.index}"
            )
            name = outcome.model.path.name if outcome.model.path else outcome.model.graph.graph_id[:12]
            table.add_row(name, m.device, m.metric.value, value, definition, m.mode.value)
    console = stdout()
    console.print(table)
    for outcome in outcomes:
        for note in outcome.notes:
            device = next((m.device for m in outcome.measurements), "")
            console.print(f"{outcome.model.path} on {device}: {note}")
