"""`perfsage mlperf-tiny`: the four reference networks of MLPerf Tiny on a board, in the official way."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stderr, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from profilers.serial.mlperf_results import Result

EXAMPLES = examples(
    "perfsage mlperf-tiny --device serial:nucleo --models networks",
    "perfsage mlperf-tiny --device serial:nucleo --mode accuracy --dataset datasets",
)


class Mode(StrEnum):
    """What a run is for."""

    PERFORMANCE = "performance"
    ACCURACY = "accuracy"
    ENERGY = "energy"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("mlperf-tiny", epilog=EXAMPLES)(mlperf_tiny)


def mlperf_tiny(
    device: Annotated[str, typer.Option(help="The board: serial:NAME of lab.toml, or serial:ADDRESS.")],
    mode: Annotated[Mode, typer.Option(help="What to measure.")] = Mode.PERFORMANCE,
    models: Annotated[
        Path | None, typer.Option(help="Folder of the .tflite files, for boards that take uploads.")
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Folder of the data sets (ad01, ic01, kws01, vww01).")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="ad, ic, kws or vww; may be given several times.")
    ] = None,
    window_s: Annotated[
        float, typer.Option(help="Seconds a window; the rules ask for 10.", min=0.001)
    ] = 10.0,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("results"),
    json: JsonOption = False,
) -> None:
    """Run MLPerf Tiny's reference networks on a board and write results in the official layout."""
    from profilers.serial.mlperf_results import RunMode
    from profilers.serial.mlperf_tiny import run_mlperf_tiny

    results: list[Result] = []
    try:
        run_mlperf_tiny(
            device,
            results=out,
            mode=RunMode(mode.value),
            models=models,
            dataset=dataset,
            networks=network or (),
            window_s=window_s,
            on_result=lambda result: _done(results, result),
        )
    finally:
        # Networks that were measured are shown, also where another one failed.
        if results:
            _show(results, json)


def _show(results: list[Result], json: bool) -> None:
    if json:
        print_json({"results": [result.to_dict() for result in results]})
    else:
        _table(results)


def _done(results: list[Result], result: Result) -> None:
    results.append(result)
    stderr().print(f"{result.benchmark}: {result.folder}")


def _table(results: list[Result]) -> None:
    from rich.table import Table

    table = Table("network", "inferences/s", "uJ/inference", "top-1", "AUC", "rules met", "folder")
    for r in results:
        cells = (r.inferences_per_s, r.energy_uj, r.top1, r.auc)
        texts = ("" if value is None else f"{value:.3f}" for value in cells)
        table.add_row(r.benchmark, *texts, "yes" if r.rules_met else "no", str(r.folder))
    stdout().print(table)
