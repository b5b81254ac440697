"""Serve a virtual board on a pseudo-terminal: prints the terminal's path, then runs until it is stopped.

The terminal belongs to a supervisor that only restarts the board: a model that crashes the engine reboots
the board, as it would a real one.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import signal
import sys
import tty
from pathlib import Path

from profilers.serial.virtual.board import BoardSettings, Firmware
from profilers.serial.virtual.engine import TflmEngine

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str] | None = None) -> None:
    """Open a pseudo-terminal and keep a board running on it."""
    options = _options(arguments)
    master, slave = os.openpty()
    tty.setraw(slave)
    settings = BoardSettings(
        name=options.name,
        energy_mode=options.energy,
        extension=not options.plain,
        arena_bytes=options.arena_bytes,
        model_name=options.model_name,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(os.ttyname(slave), flush=True)
    context = multiprocessing.get_context("fork")
    while True:
        board = context.Process(
            target=_serve, args=(master, settings, options.model, options.edges), daemon=True
        )
        board.start()
        board.join()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="profilers.serial.virtual", description=__doc__)
    parser.add_argument("--name", default="perfsage-tflm")
    parser.add_argument("--arena-bytes", type=int, default=1 << 20)
    parser.add_argument("--energy", action="store_true", help="timestamps are edges, not lines")
    parser.add_argument("--plain", action="store_true", help="without the upload extension")
    parser.add_argument("--model", type=Path, help="a model that the board holds from the start")
    parser.add_argument("--model-name", default="none", help="what `profile` calls it, such as kws01")
    parser.add_argument("--edges", type=Path, help="a pipe that gets one byte for every timestamp edge")
    return parser.parse_args(arguments)


def _serve(master: int, settings: BoardSettings, model: Path | None, edges: Path | None) -> None:
    # A board in the middle of an inference must end at once, and with its supervisor, however that ends.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    pipe = os.open(edges, os.O_RDWR | os.O_NONBLOCK) if edges else None
    engine = TflmEngine(settings.arena_bytes)
    if model is not None:
        engine.build(model.read_bytes())
    firmware = Firmware(
        settings,
        engine,
        write=lambda data: _write_all(master, data),
        edge=lambda: None if pipe is None else _write_all(pipe, b"e"),
    )
    firmware.boot()
    while data := os.read(master, 65536):
        firmware.feed(data)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
