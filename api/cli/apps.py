"""`perfsage apps`: which models are inside Android apps, and what they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.console import JsonOption, print_json, printable, progress, stderr, stdout
from api.cli.dataset import DbOption
from api.cli.help import examples

if TYPE_CHECKING:
    from dataset.apps.report import Report
    from dataset.apps.run import Request, Tally
    from dataset.store import Store

app = typer.Typer(
    name="apps",
    help="Find the models inside Android apps, and say what they are.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(parent: typer.Typer) -> None:
    """Add the group to the command line."""
    parent.add_typer(app)


@app.command(
    epilog=examples("perfsage apps scan app.apk --db apps.db", "perfsage apps scan apks/ --db apps.db --json")
)
def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Archives (APK, AAB, XAPK, APKS, AAR, ...) and folders."),
    ],
    db: DbOption,
    sdks: Annotated[
        Path | None, typer.Option(help="A TOML file with more libraries and services to look for.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also decompress native libraries and read their symbols.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Scan archives again that the database knows already.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one for each CPU core without it.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="A folder for the TFLite models that are found, one file each.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find the models in apps, and store what they are.

    Stop it at any moment and run the same command again: archives that were scanned are not read again.
    """
    from dataset.apps.run import Request
    from dataset.store import Store

    request = Request(paths=paths, sdks=sdks, deep=deep, again=again, workers=workers, keep=keep)
    with Store.open(db) as store:
        tally = _scan_with_bar(store, request)
    if json:
        print_json(_tally_document(tally))
    else:
        _show_tally(tally)


@app.command(
    epilog=examples("perfsage apps report --db apps.db", "perfsage apps report --db apps.db --output report")
)
def report(
    db: DbOption,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Also write report.html and tables of all models into a folder."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what the scanned apps look like: frameworks, tasks, copies of models, services."""
    from dataset.apps.report import read_report
    from dataset.store import Store

    with Store.open(db, create=False) as store:
        found = read_report(store)
        if output is not None:
            from api.study.apps_report import write_apps_report

            write_apps_report(store, output)
    if json:
        print_json({"schema_version": "1.0"} | found.to_dict())
    else:
        _show_report(found)


def _scan_with_bar(store: Store, request: Request) -> Tally:
    """Run the scan with a bar on stderr when somebody looks at it."""
    from dataset.apps.run import find_archives, scan_apps

    if not stderr().is_terminal:
        return scan_apps(store, request)
    with progress("archives") as bar:
        row = bar.add_task("scanning", total=sum(1 for _ in find_archives(request.paths)), note="")

        def show(tally: Tally) -> None:
            done = tally.scanned + tally.known + len(tally.failures)
            bar.update(row, completed=done, note=f"{tally.models} models")

        return scan_apps(store, request, show)


def _tally_document(tally: Tally) -> dict[str, Any]:
    return {
        "schema_version": "1.0",
        "archives_scanned": tally.scanned,
        "archives_known": tally.known,
        "archives_by_status": dict(tally.by_status),
        "bytes": tally.bytes,
        "models": tally.models,
        "models_by_format": dict(tally.by_format),
        "models_by_state": dict(tally.by_state),
        "failures": [{"path": path, "reason": reason} for path, reason in tally.failures.items()],
    }


def _show_tally(tally: Tally) -> None:
    console = stdout()
    console.print(f"Scanned {tally.scanned:,} archives; {tally.known:,} were scanned before.")
    formats = ", ".join(f"{name} {count:,}" for name, count in tally.by_format.most_common())
    console.print(f"Found {tally.models:,} models{f': {formats}' if formats else ''}.")
    for state in ("unreadable", "encrypted"):
        if tally.by_state[state]:
            console.print(f"Of these {tally.by_state[state]:,} are {state}.")
    for status in ("partial", "refused"):
        if tally.by_status[status]:
            console.print(f"{tally.by_status[status]:,} archives are {status}: see `perfsage apps report`.")
    for path, reason in tally.failures.items():
        console.print(f"Failed: {printable(path)}: {printable(reason)}")


_COUNTED = {"library or service": "apps", "archive": "archives"}
"""What the tables of the report count, where it is not models."""


def _show_report(found: Report) -> None:
    from rich.table import Table

    console = stdout()
    console.print(
        f"{found.apps:,} apps in {found.archives:,} archives; {found.apps_with_models:,} apps carry models: "
        f"{found.models:,} files, {found.distinct_models:,} different, {found.structures:,} structures"
    )
    for title, counts in found.counts().items():
        if counts:
            table = Table(title, _COUNTED.get(title, "models"))
            for name, count in counts.items():
                table.add_row(printable(name), f"{count:,}")
            console.print(table)
    for reason, count in found.refusals.items():
        console.print(f"given up, {count:,} times: {printable(reason)}")
    if found.popular:
        table = Table("in apps", "model", "format", "task")
        for model in found.popular:
            table.add_row(
                f"{model.apps:,}", printable(model.name), model.format, printable(model.task or "unknown")
            )
        console.print(table)
    if found.shared:
        table = Table("model", "relation", "other model", "shared weights")
        for pair in found.shared[:20]:
            table.add_row(printable(pair.first), pair.relation, printable(pair.second), f"{pair.shared:.0%}")
        console.print(table)
