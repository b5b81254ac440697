"""`perfsage study`: networks x devices x settings, measured or predicted, and reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, progress, stderr, stdout
from api.cli.dataset import DbOption
from api.cli.help import examples

if TYPE_CHECKING:
    from api.study.run import Tally
    from api.study.spec import Spec
    from dataset.store import Store

app = typer.Typer(
    name="study",
    help="Compare networks across devices, and report it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
StudyArgument = Annotated[
    Path, typer.Argument(metavar="STUDY", help="A study's TOML file, or a ready one: quick, survey.")
]


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app)


@app.command(
    epilog=examples(
        "perfsage study run quick --db study.db", "perfsage study run my-study.toml --db study.db"
    )
)
def run(study: StudyArgument, db: DbOption, json: JsonOption = False) -> None:
    """Measure every network on every device, and predict where a device is not there.

    Stop it at any moment and run the same command again: what is stored is not measured again.
    """
    from api.study.spec import read_spec
    from dataset.store import Store

    spec = read_spec(study)
    with Store.open(db) as store:
        tally = _run_with_bar(spec, store)
    if json:
        print_json(tally.to_dict())
    else:
        _show(tally)


@app.command(
    epilog=examples(
        "perfsage study report quick --db study.db --output report",
        "perfsage study report quick --db study.db --grid '380:national statistics, 2025'",
    )
)
def report(
    study: StudyArgument,
    db: DbOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the report.")] = Path(
        "report"
    ),
    grid: Annotated[
        str | None, typer.Option(help="Also tell energies as CO2e: grams per kWh and their source.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write report.html, one file that needs nothing else, and its tables as CSV and Parquet."""
    from api.study.report import write_report
    from api.study.spec import read_spec
    from dataset.store import Store
    from profilers.power.carbon import GridIntensity

    intensity = GridIntensity.parse(grid) if grid is not None else None
    with Store.open(db, create=False) as store:
        written = write_report(read_spec(study), store, output, intensity)
    if json:
        print_json(written.to_dict())
        return
    console = stdout()
    console.print(f"{written.cells:,} cells of {written.networks} networks on {written.devices} devices")
    for path in written.files:
        console.print(str(path))


def _run_with_bar(spec: Spec, store: Store) -> Tally:
    from api.study.run import run_study

    if not stderr().is_terminal:
        return run_study(spec, store)
    with progress("cells") as bar:
        row = bar.add_task("study", total=None, note="")

        def show(tally: Tally) -> None:
            bar.update(row, completed=tally.done, total=tally.total, note=tally.device)

        return run_study(spec, store, on_progress=show)


def _show(tally: Tally) -> None:
    console = stdout()
    console.print(
        f"{tally.total:,} cells: {tally.measured:,} measured now, {tally.predicted:,} predicted now, "
        f"{tally.stored_before:,} stored before; {tally.failed:,} failed."
    )
    if tally.failed:
        console.print("Why they failed stands in the report, under What could not be had.")
    for name, reason in tally.missing.items():
        console.print(f"Missing: {name}: {reason}")
