"""`perfsage devices`: what can be measured on this machine, and what the predictor knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.devices import KnownDevice

EXAMPLES = examples(
    "perfsage devices",
    "perfsage devices --predictor demo/predictor --json",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="List devices and their metrics.", epilog=EXAMPLES)(devices)


def devices(
    predictor: Annotated[
        str | None, typer.Option(help="Also list the devices of this predictor (a folder or a name).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the devices that can be measured or simulated here, or predicted, with their metrics."""
    from api.workflows.devices import known_devices

    known = known_devices(predictor)
    if json:
        print_json(_document(known))
        return
    from rich.table import Table

    table = Table("device", "kind", "can be", "metrics", "description")
    for item in known:
        metrics = ", ".join(metric.value for metric in item.device.metrics)
        table.add_row(item.device.name, item.device.kind, item.abilities, metrics, item.device.description)
    stdout().print(table)


def _document(known: list[KnownDevice]) -> dict[str, Any]:
    from api.words import SCHEMA_VERSION, device_dict

    listed = [
        device_dict(item.device)
        | {
            "measurable": item.measurable,
            "mode": item.mode and item.mode.value,
            "predictable": item.predictable,
        }
        for item in known
    ]
    return {"schema_version": SCHEMA_VERSION, "devices": listed}
