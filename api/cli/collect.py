"""`perfsage collect`: sample networks from search spaces and measure them on devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.collect import Progress

EXAMPLES = examples(
    "perfsage collect --space kws --count 1000 --seed 1 --device ethos-u55-128 --device tflm --db kws.db",
    "perfsage collect --space kws --space detection --count 9 -d tflm --dtype int8 --dtype float32 --db n.db",
    "perfsage collect --space kws --count 200 --seed 1 --device host-cpu --db postgresql://me@host/nets",
    "perfsage collect --space kws --count 900 -d tflm --rotate ethos-u55-32 --rotate ethos-u55-128 --db n.db",
    "perfsage collect --space kws --count 9000 -d tflm --db nets.db --scheduler tcp://10.0.0.1:8786",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXAMPLES)(collect)


def collect(
    space: Annotated[list[str], typer.Option(help="A search space, such as kws (repeatable).")],
    count: Annotated[int, typer.Option(help="How many networks to draw from each space.")],
    db: Annotated[str, typer.Option(help="The database: a file, or a postgresql:// URL.")],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", "-d", help="A device (repeatable); see `perfsage devices`."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The number of the first network in each space.")] = 0,
    dtype: Annotated[list[str] | None, typer.Option(help="int8 or float32 (repeatable); int8.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one for each CPU core without it.")
    ] = None,
    rotate: Annotated[
        list[str] | None,
        typer.Option(help="Devices that take turns: each network is measured on one of them (repeatable)."),
    ] = None,
    per_operator: Annotated[bool, typer.Option(help="Measure every operator as well.")] = False,
    scheduler: Annotated[
        str | None, typer.Option(help="A dask scheduler, tcp://HOST:PORT, whose workers have the devices.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Sample networks from search spaces, measure them on devices, and store everything.

    Stop it at any moment, even with SIGKILL, and run the same command again: it goes on where it stopped,
    and nothing is lost or measured twice.
    """
    from api.cli.collecting import collect_with_view
    from api.workflows.collect import Collection
    from profilers.profiler import Plan

    rotating = tuple(dict.fromkeys(rotate or ()))
    request = Collection(
        spaces=tuple(dict.fromkeys(space)),
        count=count,
        seed=seed,
        devices=tuple(dict.fromkeys([*(device or ()), *rotating])),
        rotating=rotating,
        plan=Plan(per_operator=per_operator),
        dtypes=tuple(dict.fromkeys(dtype or ["int8"])),
        workers=workers,
        scheduler=scheduler,
    )
    done = collect_with_view(request, db)
    if json:
        print_json(done.to_dict())
        return
    _show(done)


def _show(done: Progress) -> None:
    console = stdout()
    rate = f" in {done.elapsed_s:.0f} s, {done.per_second:.1f} a second" if done.measured else ""
    console.print(f"Measured {done.measured}{rate}; {done.stored_before} were stored before.")
    if done.duplicate_networks:
        console.print(f"Left out {done.duplicate_networks} networks whose structure another one has.")
    for reason, times in done.failures.most_common():
        console.print(f"Failed {times} times: {reason}")
