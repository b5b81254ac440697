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
    """Write a model with its operators in the order of least peak memory; results stay bit-identical.

    Both models are run on random inputs, where LiteRT is installed, to see that they are.
    """
    from api.workflows.models import naming
    from api.workflows.reorder import reorder_checked

    with naming(str(model)):
        checked = reorder_checked(model.read_bytes())
    result, identical = checked.reordering, None if checked.unchecked else True
    output.write_bytes(result.data)
    before, after = result.before_bytes, result.after_bytes
    if json:
        document = {
            "schema_version": "1.0",
            "model": str(model),
            "output": str(output),
            "peak_bytes_before": before,
            "peak_bytes_after": after,
            "exact": result.exact,
            "outputs_identical": identical,
            "outputs_not_compared": checked.unchecked,
        }
        print_json(document)
        return
    from api.cli.figures import bytes_figure

    saved = f"{1 - after / before:.1%} less" if before else "no activations"
    stdout().print(
        f"Peak activation memory: {bytes_figure(before)} before, {bytes_figure(after)} now ({saved})"
    )
    if not result.exact:
        stdout().print("The graph is too large for an exact search: a better order may exist.")
    if checked.unchecked:
        stdout().print(f"The outputs were not compared: {checked.unchecked}")
    elif before != after:
        stdout().print("Both models were run: their outputs are bit-identical.")
