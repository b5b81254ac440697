"""`perfsage dataset coverage`: how well sampled networks cover real ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, printable, progress, stdout
from api.cli.dataset_build import parse_dtype
from api.cli.help import examples
from api.words import SCHEMA_VERSION

if TYPE_CHECKING:
    from api.workflows.coverage import CoverageReport
    from dataset.builder import Dtype
    from dataset.coverage import TypeCoverage

EXAMPLES = examples(
    "perfsage dataset coverage *.tflite",
    "perfsage dataset coverage model.tflite --space kws --dtype int8 --dtype float32 --count 500 --json",
)


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(epilog=EXAMPLES)(coverage)


def coverage(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="The real .tflite files.")],
    space: Annotated[
        list[str] | None, typer.Option(help="A search space (repeatable); the four task spaces without it.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many networks to draw from each space.")] = 250,
    seed: Annotated[int, typer.Option(help="The number of the first network in each space.")] = 0,
    dtype: Annotated[list[str] | None, typer.Option(help="int8 or float32 (repeatable); int8.")] = None,
    json: JsonOption = False,
) -> None:
    """Show the operators of real files beside those of sampled networks.

    For every operator of a real file, the nearest sampled one of its type is found; distance 1 is a factor
    of two in the size, channels, kernel, stride, dilation or groups that differ most. Nothing is measured.
    """
    from api.workflows.coverage import TASK_SPACES

    spaces = tuple(dict.fromkeys(space or TASK_SPACES))
    dtypes = tuple(parse_dtype(name) for name in dict.fromkeys(dtype or ["int8"]))
    report = _measure(models, spaces, dtypes, count, seed)
    if json:
        print_json({"schema_version": SCHEMA_VERSION, **report.to_dict()})
    else:
        _show_types(report)
        _show_models(report)


def _measure(
    models: list[Path], spaces: tuple[str, ...], dtypes: tuple[Dtype, ...], count: int, seed: int
) -> CoverageReport:
    from api.workflows.coverage import measure_coverage

    with progress("networks") as bar:
        task = bar.add_task("sample", total=None, note="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return measure_coverage(
            models, spaces=spaces, dtypes=dtypes, count=count, seed=seed, on_progress=show
        )


def _show_types(report: CoverageReport) -> None:
    from rich.table import Table

    title = f"operators of {len(report.models):,} files and {report.networks:,} sampled networks"
    table = Table(
        "type", "real", "sampled", "real share", "sampled share", "median distance", "90 % below",
        "within 2x", title=title,
    )  # fmt: skip
    for one in report.types:
        table.add_row(
            printable(one.type), f"{one.real:,}", f"{one.sampled:,}", f"{one.real_share:.1%}",
            f"{one.sampled_share:.1%}", *_distances(one),
        )  # fmt: skip
    stdout().print(table)


def _distances(one: TypeCoverage) -> tuple[str, str, str]:
    if one.real and not one.sampled:
        return "never sampled", "", ""
    if one.median_distance is None or one.p90_distance is None or one.within_factor_two is None:
        return "", "", ""
    return f"{one.median_distance:.2f}", f"{one.p90_distance:.2f}", f"{one.within_factor_two:.0%}"


def _show_models(report: CoverageReport) -> None:
    from rich.table import Column, Table

    file = Column("file", overflow="fold")
    table = Table(file, "operators", "median distance", "farthest operator", "never sampled")
    for model in report.models:
        middle, far = model.median_distance, model.farthest
        table.add_row(
            printable(model.path.name),
            f"{len(model.operators):,}",
            "" if middle is None else f"{middle:.2f}",
            "" if far is None else f"{printable(far.type)} {far.subgraph}.{far.index}: {far.distance:.2f}",
            printable(" ".join(model.never_sampled)),
        )
    stdout().print(table)
