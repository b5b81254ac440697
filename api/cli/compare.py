"""`perfsage compare`: what changed between two runs of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.study.compare import Comparison

EXAMPLES = examples(
    "perfsage compare before.db after.db --study quick",
    "perfsage compare before.db after.db --study my-study.toml --json",
)
_MOST_SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Say what changed between two runs of a study.", epilog=EXAMPLES)(compare)


def compare(
    before: Annotated[str, typer.Argument(metavar="A", help="The database of the first run.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The database of the second run.")],
    study: Annotated[Path, typer.Option(help="The study's TOML file, or a ready one: quick, survey.")],
    json: JsonOption = False,
) -> None:
    """Say what changed between two runs of a study, and whether it is more than noise.

    A measurement has changed when it moved by more than twice what its own repetitions vary. What moved
    with all latencies of its device, by up to 10 %, is drift: of the machine, not of the network.
    """
    from api.study.compare import compare_studies
    from api.study.rows import read_rows
    from api.study.spec import read_spec
    from dataset.store import Store

    spec = read_spec(study)
    with Store.open(before, create=False) as first, Store.open(after, create=False) as second:
        found = compare_studies(read_rows(spec, first), read_rows(spec, second))
    if json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: Comparison) -> None:
    from rich.table import Table

    from api.cli.figures import figure

    console = stdout()
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in found.verdicts.items())
    console.print(f"{len(found.changes):,} values in both: {counts or 'none'}")
    console.print(f"Only in A: {len(found.gone):,}. Only in B: {len(found.new):,}.")
    for device, drift in found.drifts.items():
        console.print(f"All measured latencies on {device} moved by {drift:+.1f} % in the median.")
    changed = [change for change in found.changes if change.verdict in ("better", "worse")]
    if not changed:
        return
    table = Table("network", "device", "setting", "metric", "A", "B", "change", "noise", "verdict")
    for change in changed[:_MOST_SHOWN]:
        row = change.after
        values = [figure(r.value or 0.0, r.metric) for r in (change.before, row)]
        setting = f"batch {row.batch}, {row.threads} threads, {row.delegate}"
        percents = (f"{change.change_percent:+.1f} %", f"{change.noise_percent:.1f} %")
        table.add_row(row.label, row.device, setting, row.metric.value, *values, *percents, change.verdict)
    console.print(table)
