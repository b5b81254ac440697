"""`perfsage demo`: the whole idea once, on this machine, in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stderr, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.demo import Comparison

EXAMPLES = examples("perfsage demo", "perfsage demo --output /tmp/demo --json")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Do all of it once, in a few minutes.", epilog=EXAMPLES)(demo)


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the database, models and predictor.")
    ] = Path("demo"),
    json: JsonOption = False,
) -> None:
    """Measure sampled networks, learn from them, and predict networks that were not among them.

    Networks run on this machine's CPU, are compiled for an Arm Ethos-U55 NPU, and are planned for a
    microcontroller. Stopped at any moment, the demo goes on where it was.
    """
    from api.workflows.demo import SPACES, compare, document, write_held_out

    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    database, predictor = output / "measurements.db", output / "predictor"
    console = stderr()
    console.print(f"1/3  Building and measuring {sum(SPACES.values())} networks")
    _measure(database)
    console.print("2/3  Learning from them")
    _learn(database, predictor)
    console.print("3/3  Predicting networks that were not among them, and measuring those too")
    comparisons = compare(write_held_out(output / "models"), predictor)
    elapsed_s = time.monotonic() - started
    if json:
        print_json(document(comparisons, elapsed_s))
    else:
        _show(comparisons, output, elapsed_s)


def _measure(database: Path) -> None:
    from api.cli.collecting import collect_with_view
    from api.workflows.collect import Collection
    from api.workflows.demo import DEVICES, SPACES

    for space, count in SPACES.items():
        collect_with_view(Collection(spaces=(space,), count=count, seed=0, devices=DEVICES), str(database))


def _learn(database: Path, predictor: Path) -> None:
    from api.cli.training import train_with_bar
    from api.workflows.demo import DEVICES, TRAINING_SECONDS
    from api.workflows.train import TrainingRequest
    from perfsage.training.options import TrainingOptions

    options = TrainingOptions(name="demo", time_limit_s=TRAINING_SECONDS, epochs=400)
    train_with_bar(str(database), TrainingRequest(DEVICES, predictor, options))


def _show(comparisons: list[Comparison], output: Path, elapsed_s: float) -> None:
    from rich.table import Table

    from api.cli.figures import figure

    table = Table(
        "network", "device", "metric", "predicted", "90 % interval", "actual", "error", "in interval",
        title="MLPerf Tiny's reference networks, none of them trained on",
    )  # fmt: skip
    last = ""
    for one in comparisons:
        name, last = ("" if one.model == last else one.model), one.model
        interval = f"{figure(one.low, one.metric)} - {figure(one.high, one.metric)}"
        table.add_row(
            name, one.device, one.metric.value, figure(one.predicted, one.metric), interval,
            f"{figure(one.actual, one.metric)} ({one.mode})", f"{one.error_percent:+.1f} %",
            "yes" if one.covered else "no",
        )  # fmt: skip
    console = stdout()
    console.print(table)
    console.print(f"Took {elapsed_s:.0f} s. Next: make serve, or")
    console.print(f"  perfsage predict YOUR_MODEL.tflite --predictor {output / 'predictor'}")
