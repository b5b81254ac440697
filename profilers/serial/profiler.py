"""Opens a board by its device name: `serial:NAME` of the lab's inventory, or `serial:ADDRESS`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from perfsage.device import Device
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.metrics import Metric
from profilers.serial.ports import parse_address
from profilers.serial.settings import BoardSettings

if TYPE_CHECKING:
    from profilers.serial.board import SerialProfiler
    from profilers.serial.windows import EdgeMonitor

PREFIX = "serial:"


def open_serial(name: str) -> SerialProfiler:
    """Return the profiler of a board; the port is opened when it is first needed.

    >>> open_serial("serial:/dev/ttyACM0").settings.address
    '/dev/ttyACM0'
    """
    from profilers.serial.board import SerialProfiler

    settings, monitor = find_board(name)
    return SerialProfiler(settings, monitor=monitor)


def describe_serial(name: str) -> Device:
    """Return what is known of a board without asking it."""
    short = name.removeprefix(PREFIX)
    return Device(
        name=name,
        kind="mcu",
        description=f"board at a serial port: {short}",
        metrics={
            Metric.LATENCY_MS: "median_of_windows",
            Metric.PEAK_MEMORY_BYTES: "arena_total",
            Metric.STORAGE_BYTES: "flash_model",
        },
        unavailable={Metric.ENERGY_MJ: "needs a power monitor in lab.toml"},
        tool="mlperf-tiny-serial",
    )


def find_board(name: str) -> tuple[BoardSettings, EdgeMonitor | None]:
    """Return the settings and the power monitor of a board, from the inventory or from its bare address."""
    short = name.removeprefix(PREFIX)
    with suppress(InvalidInputError):
        return BoardSettings(name=name, address=parse_address(short)), None
    from profilers.lab import find_lab

    lab = find_lab()
    if short not in lab.boards:
        raise UnknownNameError(
            f"there is no board {short!r} in the lab's inventory",
            where=str(lab.path or "no lab.toml was found"),
            hint="Write a [devices.NAME] with kind = 'serial' into lab.toml, or give an address.",
        )
    from profilers.serial.lab_entry import board_entry

    return board_entry(short, lab.boards[short], lab.monitors, lab.path.parent if lab.path else None)
