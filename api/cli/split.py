"""`perfsage split`: where to cut a network between a device and a server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, printable, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.planning import Split, SplitPlan

EXAMPLES = examples(
    "perfsage split model.tflite --device ethos-u55-128 --server ethos-u85-2048 --bandwidth 200 --latency 1",
    "perfsage split model.tflite -d ethos-u55-128 -s ethos-u85-2048 -b 200 --bits 8 --json",
)
_MOST_SHOWN = 12


class Objective(StrEnum):
    """What the best cut has least of."""

    LATENCY = "latency"
    ENERGY = "energy"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Cut a network between a device and a server.", epilog=EXAMPLES)(split)


def split(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The .tflite file.")],
    device: Annotated[str, typer.Option("--device", "-d", help="Where the first part runs.")],
    server: Annotated[str, typer.Option("--server", "-s", help="Where the second part runs.")],
    bandwidth: Annotated[float, typer.Option("--bandwidth", "-b", help="Of the link, in Mbit/s.")],
    latency: Annotated[float, typer.Option("--latency", "-l", help="Of the link, in ms.")] = 0.0,
    bits: Annotated[
        int | None, typer.Option(help="Send elements in so many bits (8, 16, 32); as they are without it.")
    ] = None,
    nj_per_byte: Annotated[float | None, typer.Option(help="What the radio takes, in nJ a byte.")] = None,
    objective: Annotated[Objective, typer.Option(help="What is to be least.")] = Objective.LATENCY,
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    json: JsonOption = False,
) -> None:
    """Find the best place to cut a network between a device and a server.

    Every place between two operators is priced: the predicted latency of both parts, and the time to send
    the tensors that cross.
    """
    from api.workflows.models import read_graph_file
    from perfsage.planning import Link, plan_split
    from perfsage.predictor import load_predictor

    link = Link(bandwidth_mbit_s=bandwidth, latency_ms=latency, transfer_bits=bits, nj_per_byte=nj_per_byte)
    graph = read_graph_file(model)
    loaded = load_predictor(predictor)
    plan = plan_split(loaded, graph, device=device, server=server, link=link, objective=objective.value)
    if json:
        print_json(plan.to_dict())
    else:
        _show(plan, graph)


def _show(plan: SplitPlan, graph: Graph) -> None:
    from rich.table import Table

    operators = graph.subgraphs[0].operators
    table = Table(
        "cut after", "operator", "sent", "device", "link", "server", "latency", "device's energy", ""
    )
    best = sorted(plan.splits, key=lambda s: s.latency_ms)[:_MOST_SHOWN]
    ends = {"server alone": plan.splits[0], "device alone": plan.splits[-1]}
    for candidate in sorted({*best, plan.best, *ends.values()}, key=lambda s: s.cut.after):
        notes = [name for name, end in ends.items() if end is candidate]
        notes += [f"least {plan.objective}"] if candidate is plan.best else []
        after = candidate.cut.after
        name = printable(operators[after - 1].type) if after else ""
        table.add_row(str(after), name, *_row(candidate), ", ".join(notes))
    console = stdout()
    console.print(table)
    console.print(f"The {_MOST_SHOWN} fastest of {len(plan.splits)} cuts, and the two ends; all predicted.")
    if plan.energy_reason:
        console.print(f"No energy: {plan.energy_reason}")


def _row(split: Split) -> tuple[str, ...]:
    from api.cli.figures import bytes_figure

    times = (split.device_ms, split.transfer_ms, split.server_ms, split.latency_ms)
    energy = "" if split.energy_mj is None else f"{split.energy_mj:.4g} mJ"
    return (bytes_figure(split.sent_bytes), *(f"{ms:.4g} ms" for ms in times), energy)
