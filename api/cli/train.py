"""`perfsage train`: a predictor from measurements."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from perfsage.training.options import Score, TrainingReport

EXAMPLES = examples(
    "perfsage train --db measurements.db --output predictor",
    "perfsage train --db measurements.db --device ethos-u55-128 --epochs 40 --output predictor",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Train a predictor on a database.", epilog=EXAMPLES)(train)


def train(
    db: Annotated[str, typer.Option(help="The database: a file, or a postgresql:// URL.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the predictor.")],
    device: Annotated[
        list[str] | None, typer.Option("--device", "-d", help="A device (repeatable); all without it.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often to go through the networks.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="End training after this many seconds.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes that extract features.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a predictor on the measurements of a database, and score it on networks held out.

    An interrupted training goes on from its checkpoint in the output folder when it is run again.
    """
    from api.cli.training import train_with_bar
    from api.workflows.train import TrainingRequest
    from perfsage.training.options import TrainingOptions

    given: dict[str, Any] = {"epochs": epochs, "time_limit_s": time_limit, "seed": seed}
    chosen = {name: value for name, value in given.items() if value is not None}
    options = TrainingOptions(name=output.resolve().name, **chosen)
    request = TrainingRequest(tuple(dict.fromkeys(device or ())), output, options, workers)
    report = train_with_bar(db, request)
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes the first one speaks
    if json:
        print_json(_document(report))
    else:
        _show(report)


def _document(report: TrainingReport) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "output": str(report.output_dir),
        "graphs": dict(report.graphs),
        "epochs": report.epochs,
        "elapsed_s": report.elapsed_s,
        "scores": [asdict(score) for score in report.scores],
    }


def _show(report: TrainingReport) -> None:
    from rich.table import Table

    title = "Error on networks that were not trained on"
    table = Table(
        "device", "metric", "n", "MAPE", "within 10 %", "rho", "coverage", "baselines' MAPE", title=title
    )
    for score in report.scores:
        if score.space == "all":
            table.add_row(score.device, score.metric, *_figures(score))
    console = stdout()
    console.print(table)
    console.print(
        f"{report.epochs} epochs in {report.elapsed_s:.0f} s. The predictor is in {report.output_dir}"
    )


def _figures(score: Score) -> tuple[str, ...]:
    return (
        str(score.n),
        f"{score.mape:.2f} %",
        f"{score.within_10:.0%}",
        "-" if score.spearman is None else f"{score.spearman:.3f}",
        f"{score.coverage:.0%}",
        ", ".join(f"{name} {mape:.1f} %" for name, mape in score.baseline_mape.items()) or "-",
    )
