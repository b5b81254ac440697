"""`perfsage adapt`: new devices from a handful of measurements, or from a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, progress, stdout
from api.cli.help import examples
from perfsage.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from perfsage.training.adapt import AdaptReport

EXAMPLES = examples(
    "perfsage adapt --device my-board --measurements measured.csv --output my-predictor",
    "perfsage predict model.tflite --predictor my-predictor --device my-board",
    "perfsage adapt --db phones.db --device help-pixel3 --device help-raspi4 --output phones",
)
NETWORKS_OF_A_DATABASE = 400


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Add a device to a predictor from a few measurements.", epilog=EXAMPLES)(adapt)


def adapt(
    device: Annotated[
        list[str], typer.Option("--device", "-d", help="The new device's name; with --db repeatable.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the new predictor.")],
    measurements: Annotated[
        Path | None, typer.Option("--measurements", "-m", help="A CSV file: model, and any of the metrics.")
    ] = None,
    db: Annotated[
        str | None, typer.Option(help="A database that has measurements of the devices, in place of a CSV.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=5, max=1000, help="With --db: the networks to learn each device from.")
    ] = NETWORKS_OF_A_DATABASE,
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    kind: Annotated[
        str, typer.Option(help="With a CSV file: cpu, gpu, npu, mcu, phone, board or accelerator.")
    ] = "board",
    json: JsonOption = False,
) -> None:
    """Learn a device from 5 to 100 measured networks, and write a predictor that knows it too.

    The table has a column `model` with the paths of .tflite files, relative to the table, and any of
    latency_ms, energy_mj, peak_memory_bytes, storage_bytes. The command `suggest` names networks that are
    worth measuring. With a database in its place, devices are learned that were collected or imported there.
    """
    names = list(dict.fromkeys(device))
    if (measurements is None) == (db is None) or (measurements is not None and len(names) > 1):
        raise InvalidInputError(
            "a device is learned from a CSV file, or devices from a database",
            hint="Give --measurements and one --device, or --db.",
        )
    if measurements is None:
        assert db is not None
        reports = _from_database(db, names, count, predictor, output)
    else:
        from api.workflows.adapt import adapt_files

        reports = [
            adapt_files(
                predictor=predictor, device=names[0], kind=kind, measurements=measurements, output=output
            )
        ]
    if json:
        print_json(_document(reports, many=db is not None))
    else:
        _show(reports)


def _from_database(db: str, names: list[str], count: int, predictor: str, output: Path) -> list[AdaptReport]:
    from api.workflows.adapt_stored import adapt_stored
    from dataset.store import Store

    with Store.open(db, create=False) as store, progress("networks") as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total, note="")
            bar.update(tasks[name], completed=done)

        return adapt_stored(
            predictor=predictor, store=store, devices=names, count=count, output=output, on_network=show
        )


def _document(reports: list[AdaptReport], *, many: bool) -> dict[str, Any]:
    head = {"schema_version": "1.0", "output": str(reports[0].output_dir)}
    devices = [_device_document(report) for report in reports]
    return head | ({"devices": devices} if many else devices[0])


def _device_document(report: AdaptReport) -> dict[str, Any]:
    return {
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


def _show(reports: list[AdaptReport]) -> None:
    from rich.table import Table

    table = Table("device", "metric", "networks", "median error, each left out", "interval")
    for report in reports:
        for score in report.scores:
            interval = f"equals {score.exact}" if score.exact else f"+{score.half_width_percent:.1f} %"
            error = f"{score.error_percent:.1f} %"
            table.add_row(report.device.name, score.metric.value, str(score.n), error, interval)
    console = stdout()
    console.print(table)
    for reason, names in _unavailable(reports).items():
        console.print(f"{', '.join(names)}: {reason}")
    console.print(f"The predictor is in {reports[0].output_dir}")


def _unavailable(reports: list[AdaptReport]) -> dict[str, list[str]]:
    """Return the devices by what is unavailable and why: many share a reason."""
    found: dict[str, list[str]] = {}
    for report in reports:
        for metric, reason in report.device.unavailable.items():
            found.setdefault(f"{metric.value} is unavailable: {reason}", []).append(report.device.name)
    return found
