"""`perfsage dataset`: look at a database of measurements, move it, bring it up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import dataset_build, dataset_check, dataset_coverage, dataset_sources
from api.cli.console import JsonOption, print_json, progress, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from dataset.reading import Stats
    from dataset.store import Store

app = typer.Typer(
    name="dataset",
    help="Look at a database of measurements, move it, bring it up to date.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

dataset_build.register(app)
dataset_sources.register(app)
dataset_check.register(app)
dataset_coverage.register(app)

DbOption = Annotated[str, typer.Option(help="The database: a file, or a postgresql:// URL.")]


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app)


@app.command(epilog=examples("perfsage dataset stats --db kws.db"))
def stats(db: DbOption, json: JsonOption = False) -> None:
    """Count what a database holds: networks, measurements, failures by reason."""
    from dataset.store import Store

    with Store.open(db, create=False) as store:
        found = store.stats()
        where = store.url
    if json:
        print_json(_document(found))
    else:
        _show(found, where)


@app.command(epilog=examples("perfsage dataset upgrade --db kws.db"))
def upgrade(db: DbOption, json: JsonOption = False) -> None:
    """Bring a database to the schema of this version; make a copy before."""
    from dataset.store import Store

    Store.upgrade(db)
    if json:
        print_json({"schema_version": "1.0", "upgraded": True})
    else:
        stdout().print("The database has this version's schema.")


EXPORT_EXAMPLES = examples(
    "perfsage dataset export --db kws.db --output kws-export --kind csv",
    "perfsage dataset export --db nets.db -o labels --kind labels --title EdgeDLPerf --licence CC-BY-4.0",
)


@app.command(epilog=EXPORT_EXAMPLES)
def export(
    db: DbOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    kind: Annotated[str, typer.Option(help="parquet, csv, or labels: seeds and values only.")] = "parquet",
    title: Annotated[str, typer.Option(help="The heading of the data card.")] = "Dataset card",
    licence: Annotated[
        str | None, typer.Option(help="The licence of your own measurements, for the data card.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a whole database as files, with a data card (README.md).

    `labels` is the smallest form: one row a network, which is built again from its seed when the labels are
    imported. It leaves out samples, operators' measurements and networks that came as files.
    """
    from dataset.card import write_card
    from dataset.export import export_dataset
    from dataset.labels_export import export_labels
    from dataset.store import Store

    with Store.open(db, create=False) as store:
        rows = export_labels(store, output) if kind == "labels" else export_dataset(store, output, kind=kind)
        write_card(store, output, title=title, licence=licence)
    _show_rows(rows, f"Wrote {output}", json=json)


@app.command(name="import", epilog=examples("perfsage dataset import kws-export --db team.db"))
def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that an export wrote.")],
    db: DbOption,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that build networks again; one for each core.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Add an export to a database: what is there already is not added again."""
    from dataset.filling import filling
    from dataset.importing import import_dataset
    from dataset.labels_reading import is_labels

    with filling(db) as store:
        rows = _import_labels(store, folder, workers) if is_labels(folder) else import_dataset(store, folder)
    _show_rows(rows, f"Read {folder}", json=json)


def _import_labels(store: Store, folder: Path, workers: int | None) -> dict[str, int]:
    from api.workflows.labels_import import import_shipped_labels

    bar = progress("networks")
    with bar:
        task = bar.add_task("build and store", total=None, note="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return import_shipped_labels(store, folder, workers=workers, on_progress=show)


def _show_rows(rows: dict[str, int], done: str, *, json: bool) -> None:
    if json:
        print_json({"schema_version": "1.0", "rows": rows})
    else:
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items())
        stdout().print(f"{done}: {counts}")


def _document(found: Stats) -> dict[str, Any]:
    failures = [
        {"device": device, "reason": reason, "measurements": count}
        for (device, reason), count in found.failures.items()
    ]
    return {
        "schema_version": "1.0",
        "networks": found.networks,
        "structures": found.structures,
        "networks_by_space": dict(found.networks_by_space),
        "measurements": found.measurements,
        "unavailable": found.unavailable,
        "operator_rows": found.operator_rows,
        "measurements_by_device": dict(found.measurements_by_device),
        "failures": failures,
    }


def _show(found: Stats, where: str) -> None:
    from rich.table import Table

    console = stdout()
    console.print(f"{where}: {found.networks:,} networks, {found.structures:,} different structures")
    table = Table("device", "measurements")
    for device, count in found.measurements_by_device.items():
        table.add_row(device, f"{count:,}")
    console.print(table)
    for (device, reason), count in sorted(found.failures.items(), key=lambda item: -item[1]):
        console.print(f"unavailable on {device}, {count:,} times: {reason}")
