"""`perfsage inspect`: what a model is made of, and what is exactly known of its cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, printable, stdout
from api.cli.help import examples

if TYPE_CHECKING:
    from api.workflows.inspect import Inspection

EXAMPLES = examples(
    "perfsage inspect model.tflite",
    "perfsage inspect model.tflite --memory --svg memory.svg",
    "perfsage inspect *.tflite --json",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(short_help="Show what a model is made of, and its exact costs.", epilog=EXAMPLES)(inspect)


def inspect(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL", help="The .tflite files.")],
    memory: Annotated[
        bool, typer.Option("--memory", help="Draw the memory plan over the operators.")
    ] = False,
    svg: Annotated[Path | None, typer.Option(help="Write the memory plan as a picture (one model).")] = None,
    json: JsonOption = False,
) -> None:
    """Show a model's operators, shapes, MACs, parameters, bytes and memory plan."""
    from api.workflows.inspect import inspect_model

    inspections = [inspect_model(path) for path in models]
    if svg is not None:
        _write_svg(inspections, svg)
    if json:
        print_json({"schema_version": "1.0", "models": [item.to_dict() for item in inspections]})
        return
    for item in inspections:
        _show(item)
        if memory:
            _show_memory(item)


def _show(item: Inspection) -> None:
    from rich.table import Table

    from api.cli.figures import bytes_figure, count_figure

    console = stdout()
    console.print(f"{item.path}: {bytes_figure(item.graph.file_bytes)}")
    table = Table("operator", "type", "inputs", "outputs", "MACs", "parameters", "read", "written")
    for row in item.operators:
        place = f"{row.operator.subgraph}.{row.operator.index}"
        costs = [
            "unknown" if value is None else show(value)
            for value, show in (
                (row.macs, count_figure),
                (row.parameters, count_figure),
                (row.read_bytes, bytes_figure),
                (row.written_bytes, bytes_figure),
            )
        ]
        table.add_row(
            place, printable(row.operator.type), _shapes(row.input_shapes), _shapes(row.output_shapes), *costs
        )
    console.print(table)
    console.print(_summary(item))


def _shapes(shapes: tuple[tuple[int, ...] | None, ...]) -> str:
    return " ".join("-" if shape is None else "x".join(map(str, shape)) or "scalar" for shape in shapes)


def _summary(item: Inspection) -> str:
    from api.cli.figures import bytes_figure, count_figure

    peak = bytes_figure(item.plan.peak_bytes) if item.plan else f"unavailable ({item.plan_unavailable})"
    lines = [
        f"MACs: {count_figure(item.macs)}",
        f"Parameters: {count_figure(item.parameters)}",
        f"Peak activation memory in this order: {peak}",
        f"Graph id: {item.graph.graph_id}",
    ]
    lines += [
        f"Cost unknown: {printable(u.type)} at {u.subgraph}.{u.index}, {u.reason}" for u in item.unknown
    ]
    return "\n".join(lines) + "\n"


def _show_memory(item: Inspection) -> None:
    from api.cli.memory_picture import peak_text, text_picture

    if item.plan is not None:
        console = stdout()
        console.print(text_picture(item.plan, width=min(console.width, 120)))
        if len(item.plan.size_bytes):
            console.print(peak_text(item.plan, item.graph), no_wrap=True, overflow="ellipsis")


def _write_svg(inspections: list[Inspection], path: Path) -> None:
    from api.cli.memory_picture import svg_picture
    from perfsage.errors import InvalidInputError

    if len(inspections) != 1 or inspections[0].plan is None:
        reason = "the model has no memory plan" if len(inspections) == 1 else "it shows one model"
        raise InvalidInputError(f"the picture cannot be drawn: {reason}", where="--svg")
    [item] = inspections
    assert item.plan is not None and item.path is not None
    path.write_text(svg_picture(item.plan, item.graph, item.path.name), encoding="utf-8")
