"""`perfsage reorder`: the same network with its operators in the order that needs least memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.console import JsonOption, print_json, stdout
from api.cli.help import examples


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(
        short_help="Reorder operators for least peak memory.",
        epilog=examples("perfsage reorder model.tflite -o reordered.tflite"),
    )(reorder)


def reorder(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The .tflite file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the reordered model.")],
    json: JsonOption = False,
) -> None:
    """Write a model with its operators in the order of least peak memory; results stay bit-identical."""
    from api.workflows.models import naming
    from perfsage.graph.reorder import reorder as reorder_operators

    with naming(str(model)):
        result = reorder_operators(model.read_bytes())
    output.write_bytes(result.data)
    before, after = result.before_bytes, result.after_bytes
    if json:
        sizes = {"peak_bytes_before": before, "peak_bytes_after": after, "exact": result.exact}
        print_json({"schema_version": "1.0", "model": str(model), "output": str(output), **sizes})
        return
    from api.cli.figures import bytes_figure

    saved = f"{1 - after / before:.1%} less" if before else "no activations"
    stdout().print(
        f"Peak activation memory: {bytes_figure(before)} before, {bytes_figure(after)} now ({saved})"
    )
    if not result.exact:
        stdout().print("The graph is too large for an exact search: a better order may exist.")
