"""`perfsage exits`: what leaving a network early would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, printable, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.planning import ExitPlan

EXAMPLES = examples(
    "perfsage exits model.tflite --device ethos-u55-128",
    "perfsage exits model.tflite --device ethos-u55-128 --classes 10 --json",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Say what leaving a network early would cost.", epilog=EXAMPLES)(exits)


def exits(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The .tflite file.")],
    device: Annotated[str, typer.Option("--device", "-d", help="The device.")],
    classes: Annotated[
        int | None, typer.Option(min=1, help="Classes of a head; those of the model without it.")
    ] = None,
    predictor: Annotated[
        str, typer.Option(envvar="PERFSAGE_PREDICTOR", help="A predictor's folder, or its name.")
    ] = "default",
    json: JsonOption = False,
) -> None:
    """List every place where a small head could answer early, and what was spent until there.

    A place is one image that alone crosses from one operator to the next. The head is a mean over the image
    and a fully connected layer; its MACs and parameters are listed, its latency is not in the figures.
    """
    from api.workflows.models import read_graph_file
    from perfsage.planning import plan_exits
    from perfsage.predictor import load_predictor

    graph = read_graph_file(model)
    plan = plan_exits(load_predictor(predictor), graph, device=device, classes=classes)
    if json:
        print_json(plan.to_dict())
    else:
        _show(plan, graph)


def _show(plan: ExitPlan, graph: Graph) -> None:
    from rich.table import Table

    from api.cli.figures import count_figure

    operators = graph.subgraphs[0].operators
    table = Table(
        "after", "operator", "image", "MACs", "latency", "saved", "energy", "head MACs",
        "head parameters",
    )  # fmt: skip
    for candidate in plan.exits:
        operator = printable(operators[candidate.after - 1].type)
        shape = "x".join(map(str, candidate.shape))
        energy = "" if candidate.energy_mj is None else f"{candidate.energy_mj:.4g} mJ"
        table.add_row(
            str(candidate.after), operator, shape, f"{candidate.macs_share:.0%}",
            f"{candidate.latency_ms:.4g} ms", f"{candidate.saved:.0%}", energy,
            count_figure(candidate.head_macs), count_figure(candidate.head_parameters),
        )  # fmt: skip
    console = stdout()
    console.print(table)
    console.print(f"All of it on {plan.device}: {plan.latency_ms:.4g} ms, predicted.")
