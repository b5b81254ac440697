"""Boards without hardware: TFLM behind a pseudo-terminal, and our firmware on QEMU's Cortex-M boards.

Both print where they listen and run until they are closed; `perfsage profile --device serial:/dev/pts/N`
talks to them as to any board.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from perfsage.errors import StableDeviceError, UnknownNameError
from profilers.serial.boards import BOARDS, find_board
from profilers.serial.build import build_firmware
from profilers.serial.toolchain import TOOL_PACKAGES

START_TIMEOUT_S = 30.0
ICOUNT = ("-icount", "shift=0,sleep=off")
"""One instruction a nanosecond, and no waiting for real time: counts repeat exactly."""


class EmulatedPort:
    """A running emulator and the address of its serial port; use it in a `with`, or close it."""

    def __init__(self, name: str, address: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.address = address
        self.process = process

    def close(self) -> None:
        """Stop the emulator. Calling it twice is harmless."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def wait(self) -> int:
        """Wait until the emulator ends by itself, and return its exit status."""
        return self.process.wait()

    def __enter__(self) -> EmulatedPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def board_names() -> list[str]:
    """Return the names that `start` takes: `tflm`, and QEMU's boards."""
    return ["tflm", *BOARDS]


def start(name: str, *, energy_mode: bool = False) -> EmulatedPort:
    """Bring up a board by name; the firmware is built first where it has to be."""
    if name == "tflm":
        return start_tflm(energy_mode=energy_mode)
    if name not in BOARDS:
        raise UnknownNameError(
            f"there is no emulated board {name!r}", hint=f"Known boards: {', '.join(board_names())}."
        )
    return start_qemu(name, energy_mode=energy_mode)


def start_tflm(
    *,
    energy_mode: bool = False,
    extension: bool = True,
    arena_bytes: int = 1 << 20,
    model: Path | None = None,
    model_name: str = "none",
    edges: Path | None = None,
) -> EmulatedPort:
    """Start a virtual board, in processes of its own.

    `model` is held from the start; without `extension` it is all that can be measured. `edges` is a named
    pipe that gets one byte for every timestamp edge in energy mode.
    """
    words = [sys.executable, "-m", "profilers.serial.virtual", "--arena-bytes", str(arena_bytes)]
    words += ["--model-name", model_name]
    words += ["--energy"] if energy_mode else []
    words += [] if extension else ["--plain"]
    words += ["--model", str(model)] if model else []
    words += ["--edges", str(edges)] if edges else []
    return _start("tflm", words, re.compile(r"(/dev/\S+)"))


def start_qemu(board_name: str, *, energy_mode: bool = False, elf: Path | None = None) -> EmulatedPort:
    """Start QEMU with our firmware on `board_name`, counting instructions."""
    board = find_board(board_name)
    if shutil.which("qemu-system-arm") is None:
        raise StableDeviceError(
            "qemu-system-arm is not installed",
            where=f"emulating {board_name}",
            hint=f"Install with: apt-get install {' '.join(TOOL_PACKAGES)}",
        )
    elf = elf or build_firmware(board.name, energy_mode=energy_mode)
    words = ["qemu-system-arm", "-M", board.name, "-nodefaults", "-display", "none", "-monitor", "none"]
    words += [*ICOUNT, "-kernel", str(elf), "-serial", "pty"]
    return _start(board.name, words, re.compile(r"redirected to (\S+)"))


def _start(name: str, words: Sequence[str], pattern: re.Pattern[str]) -> EmulatedPort:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
    )
    said, address = _await_address(process, pattern)
    port = EmulatedPort(name, address or "", process)
    if address is None:
        port.close()
        raise StableDeviceError(
            f"the emulator did not start: {said.strip()[-500:] or 'it said nothing'}",
            where=name,
            hint=f"Run by hand: {' '.join(words)}",
        )
    return port


def _await_address(process: subprocess.Popen[str], pattern: re.Pattern[str]) -> tuple[str, str | None]:
    assert process.stdout is not None
    said, deadline = "", time.monotonic() + START_TIMEOUT_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not selector.select(0.1):
                continue
            line = process.stdout.readline()
            said += line
            if found := pattern.search(line):
                return said, found[1]
            if not line:
                break
    return said, None
