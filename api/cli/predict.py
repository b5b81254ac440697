"""`perfsage predict`: what models will cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from perfsage.metrics import Metric
    from perfsage.prediction import Interval, Prediction, Report, Unavailable

EXAMPLES = examples(
    "perfsage predict model.tflite",
    "perfsage predict a.tflite b.tflite --device ethos-u55-128 --metric latency_ms",
    "perfsage predict model.tflite --predictor demo/predictor --json",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Predict what models cost.", epilog=EXAMPLES)(predict)


def predict(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="The .tflite files.")],
    device: Annotated[
        list[str] | None, typer.Option("--device", "-d", help="A device (repeatable); all without it.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="A metric (repeatable); all without it.")
    ] = None,
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    json: JsonOption = False,
) -> None:
    """Predict the latency, energy, memory and storage of models, with intervals."""
    from api.workflows.predict import predict_files

    report = predict_files(models, predictor=predictor, devices=device, metrics=metric)
    if json:
        print_json(report.to_dict())
    else:
        _show(report)


def _show(report: Report) -> None:
    from rich.table import Table

    table = Table("model", "device", "metric", "predicted", "interval", "trust")
    for prediction in report.predictions:
        for metric, answer in prediction.metrics.items():
            table.add_row(*_row(prediction, metric, answer))
    console = stdout()
    console.print(table)
    for warning in sorted({warning for p in report.predictions for warning in p.warnings}):
        console.print(f"Note: {warning}")


def _row(prediction: Prediction, metric: Metric, answer: Interval | Unavailable) -> tuple[str, ...]:
    from api.cli.figures import figure
    from perfsage.prediction import Unavailable

    name = Path(prediction.model.path).name if prediction.model.path else prediction.model.graph_id[:12]
    row = (name, prediction.device, metric.value)
    if isinstance(answer, Unavailable):
        return (*row, "unavailable", answer.reason, "")
    interval = f"{figure(answer.low, metric)} - {figure(answer.high, metric)} ({answer.level:.0%})"
    trust = "like the training set" if prediction.in_distribution else "unlike the training set"
    return (*row, figure(answer.value, metric), interval, trust)
