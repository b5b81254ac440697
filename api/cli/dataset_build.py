"""`perfsage dataset build`: write the networks of a known space as .tflite files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.console import JsonOption, print_json, progress, stdout
from api.cli.help import examples
from api.words import SCHEMA_VERSION

if TYPE_CHECKING:
    from dataset.builder import Dtype
    from dataset.spaces.known_files import Written

EXAMPLES = examples(
    "perfsage dataset build nasbench201 --architectures cells.txt --output nets",
    "perfsage dataset build fbnet --architectures blocks.txt --output nets --dtype int8",
)


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(epilog=EXAMPLES)(build)


def build(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="nasbench201 or fbnet.")],
    architectures: Annotated[Path, typer.Option(help="The list: one architecture a line.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    dtype: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    json: JsonOption = False,
) -> None:
    """Write the networks of a list as .tflite files, with manifest.jsonl in the order of the list.

    A line of nasbench201 is a cell, one of fbnet 22 blocks. Stop it at any moment and run it again: only what
    is missing is built.
    """
    from dataset.spaces.known import known_space

    known_space(space)
    written = _build(space, architectures, output, parse_dtype(dtype))
    if json:
        counts = {"networks": written.total, "built": written.built, "reused": written.reused}
        print_json({"schema_version": SCHEMA_VERSION, "space": space, "dtype": dtype} | counts)
    else:
        stdout().print(f"Wrote {written.total:,} networks to {output} ({written.reused:,} were there).")


def parse_dtype(name: str) -> Dtype:
    """Return the dtype of that name; InvalidInputError where there is none."""
    from perfsage.errors import InvalidInputError

    if name == "float32":
        return "float32"
    if name == "int8":
        return "int8"
    raise InvalidInputError(f"{name!r} is not a dtype", where="--dtype", hint="Use float32 or int8.")


def _build(space: str, architectures: Path, output: Path, dtype: Dtype) -> Written:
    from dataset.spaces.known_files import write_networks

    with progress("networks") as bar:
        task = bar.add_task(f"{space} {dtype}", total=None, note="")

        def show(state: Written) -> None:
            bar.update(task, completed=state.built + state.reused, total=state.total)

        return write_networks(space, architectures, output, dtype, show)
