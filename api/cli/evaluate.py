"""`perfsage evaluate`: how good a predictor is, beside baselines and noise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stderr, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.evaluate import Evaluation
    from perfsage.training.options import Score

EXAMPLES = examples(
    "perfsage evaluate --predictor predictor --db measurements.db --report report.html",
    "perfsage evaluate --predictor predictor --models my-models --device ethos-u55-128",
    "perfsage evaluate --predictor predictor --db measurements.db --leave-out space --time-limit 600",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Say how good a predictor is, beside baselines.", epilog=EXAMPLES)(evaluate)


def evaluate(
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    db: Annotated[str | None, typer.Option(help="A database: a file, or a postgresql:// URL.")] = None,
    models: Annotated[Path | None, typer.Option(help="A folder of .tflite files to measure now.")] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", "-d", help="A device (repeatable); all without it.")
    ] = None,
    leave_out: Annotated[
        str | None, typer.Option(help="Train without each space, family or device, and judge by it.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Leave out only this one (repeatable).")] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=1, help="Seconds for each training with --leave-out.")
    ] = None,
    baselines: Annotated[str, typer.Option(help="quick, all (a minute a target) or none.")] = "quick",
    baseline_seconds: Annotated[
        float, typer.Option(min=1, help="How long each network among the baselines may train.")
    ] = 60.0,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report with plots to this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Score a predictor by device, metric and space, on networks that it did not learn from.

    With a database, networks that the predictor was trained on are left out by the same split. With a
    folder of models, these are measured on the devices that are available here.
    """
    from api.workflows.evaluate import EvaluationRequest, evaluate_predictor

    request = EvaluationRequest(
        predictor=predictor,
        database=db,
        models=models,
        devices=tuple(dict.fromkeys(device or ())),
        leave_out=leave_out,
        only=tuple(only or ()),
        time_limit_s=time_limit,
        baselines=baselines,
        baseline_seconds=baseline_seconds,
        report=report,
    )
    console = stderr()
    evaluation = evaluate_predictor(request, narrate=lambda text: console.print(f"{text} ..."))
    if json:
        scores = [{"part": title, **asdict(score)} for title, score in evaluation.scores]
        document = {"schema_version": "1.0", "predictor": evaluation.predictor, "scores": scores}
        print_json(document | {"report": str(report) if report else None})
    else:
        _show(evaluation)


def _show(evaluation: Evaluation) -> None:
    from rich.table import Table

    console = stdout()
    for part in evaluation.parts:
        heads = ("device", "metric", "space", "n", "MAPE", "median", "within 5 / 10 %", "rho")
        table = Table(*heads, "coverage", "width", "noise", "baselines' MAPE", title=part.title)
        for title, score in evaluation.scores:
            if title == part.title:
                table.add_row(*_row(score))
        console.print(table)
    if evaluation.report is not None:
        console.print(f"The report is in {evaluation.report}")


def _row(score: Score) -> tuple[str, ...]:
    return (
        score.device,
        score.metric,
        score.space,
        str(score.n),
        f"{score.mape:.2f} %",
        f"{score.median_ape:.2f} %",
        f"{score.within_5:.0%} / {score.within_10:.0%}",
        "-" if score.spearman is None else f"{score.spearman:.3f}",
        f"{score.coverage:.0%}",
        f"{score.width:.0%}",
        "-" if score.noise_floor_percent is None else f"{score.noise_floor_percent:.1f} %",
        ", ".join(f"{name} {mape:.1f} %" for name, mape in score.baseline_mape.items()) or "-",
    )
