"""The command `perfsage`: its commands, its errors, its exit codes.

Commands import what they need when they run, so that `perfsage --help` stays fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from api.cli import (
    adapt,
    apps,
    collect,
    compare,
    dataset,
    demo,
    devices,
    evaluate,
    exits,
    explain,
    inspect,
    keys,
    lab,
    mlperf_tiny,
    predict,
    profile,
    reorder,
    serve,
    split,
    study,
    suggest,
    train,
)
from api.cli.errors import INTERRUPTED_EXIT_CODE, report

app = typer.Typer(
    name="perfsage",
    help="Predict what a neural network costs on an edge device: latency, energy and memory.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"perfsage {version('perfsage')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Predict what a neural network costs on an edge device: latency, energy and memory."""


for command in (
    demo,
    inspect,
    apps,
    devices,
    profile,
    collect,
    dataset,
    train,
    predict,
    evaluate,
    adapt,
    suggest,
    serve,
    study,
    compare,
    split,
    exits,
    keys,
    lab,
    mlperf_tiny,
    reorder,
    explain,
):
    command.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; deliberate errors never show a traceback."""
    try:
        status = app(args=list(arguments), prog_name="perfsage", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_left()
    except SystemExit as leaving:
        # Typer turns a broken pipe into exit status 1, and leaves like this for nothing else but completion.
        return _reader_left() if leaving.code == 1 else int(leaving.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("PERFSAGE_TRACEBACK"):
            raise
        return report(error, arguments)
    if status == INTERRUPTED_EXIT_CODE:  # what typer makes of KeyboardInterrupt
        return report(KeyboardInterrupt(), arguments)
    return status if isinstance(status, int) else 0


def _reader_left() -> int:
    """Stop quietly when nobody reads stdout any more (`perfsage ... | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":  # torchrun -m api.cli.main train ...
    main()
