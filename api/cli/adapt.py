"""`perfsage adapt`: a new device from a handful of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from perfsage.training.adapt import AdaptReport

EXAMPLES = examples(
    "perfsage adapt --device my-board --measurements measured.csv --output my-predictor",
    "perfsage predict model.tflite --predictor my-predictor --device my-board",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Add a device to a predictor from a few measurements.", epilog=EXAMPLES)(adapt)


def adapt(
    device: Annotated[str, typer.Option("--device", "-d", help="The new device's name.")],
    measurements: Annotated[
        Path, typer.Option("--measurements", "-m", help="A CSV file: model, and any of the metrics.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the new predictor.")],
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    kind: Annotated[
        str, typer.Option(help="One of cpu, gpu, npu, mcu, phone, board, accelerator.")
    ] = "board",
    json: JsonOption = False,
) -> None:
    """Learn a device from 5 to 100 measured networks, and write a predictor that knows it too.

    The table has a column `model` with the paths of .tflite files, relative to the table, and any of
    latency_ms, energy_mj, peak_memory_bytes, storage_bytes. The command `suggest` names networks that are
    worth measuring.
    """
    from api.workflows.adapt import adapt_files

    report = adapt_files(
        predictor=predictor, device=device, kind=kind, measurements=measurements, output=output
    )
    if json:
        print_json(_document(report))
    else:
        _show(report)


def _document(report: AdaptReport) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "output": str(report.output_dir),
        "device": report.device.name,
        "metrics": {
            score.metric.value: {
                "n": score.n,
                "left_out_median_error_percent": score.error_percent,
                "half_width_percent": score.half_width_percent,
                "exact": score.exact,
            }
            for score in report.scores
        },
        "unavailable": {metric.value: reason for metric, reason in report.device.unavailable.items()},
    }


def _show(report: AdaptReport) -> None:
    from rich.table import Table

    table = Table("metric", "networks", "median error, each left out", "interval", title=report.device.name)
    for score in report.scores:
        interval = f"equals {score.exact}" if score.exact else f"+{score.half_width_percent:.1f} %"
        table.add_row(score.metric.value, str(score.n), f"{score.error_percent:.1f} %", interval)
    console = stdout()
    console.print(table)
    for metric, reason in report.device.unavailable.items():
        console.print(f"{metric.value} is unavailable: {reason}")
    console.print(f"The predictor is in {report.output_dir}")
