"""`perfsage lab emulate`: a board without hardware, on a pseudo-terminal."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from api.cli.help import examples

EXAMPLES = examples(
    "perfsage lab emulate tflm",
    "perfsage lab emulate mps2-an386",
    "perfsage profile model.tflite --device serial:/dev/pts/3",
)


def register(lab: typer.Typer) -> None:
    """Add the command to the group `lab`."""
    lab.command(epilog=EXAMPLES)(emulate)


def emulate(
    board: Annotated[str, typer.Argument(help="tflm, mps2-an385, mps2-an386, mps2-an500 or mps3-an547.")],
    energy: Annotated[
        bool, typer.Option("--energy", help="Energy-mode firmware: timestamps are edges, not lines.")
    ] = False,
) -> None:
    """Bring up a board on a pseudo-terminal and keep it running until Ctrl-C.

    `tflm` is TensorFlow Lite Micro and needs no toolchain; the others run our firmware on QEMU, which is
    built the first time.
    """
    from profilers.serial.emulate import start

    # Without this, `kill` would end this program and leave the emulator running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with start(board, energy_mode=energy) as port:
        typer.echo(f"serial:{port.address}")
        port.wait()
