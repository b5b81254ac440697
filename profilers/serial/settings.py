"""How one board is reached and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OFFICIAL_WINDOW_S = 10.0
"""MLPerf Tiny: a window lasts at least this long, and holds at least ten inferences."""
OFFICIAL_ITERATIONS = 10
OFFICIAL_INPUTS = 5
SILICON_TIMEOUT_S = 600.0
"""Five windows, their inputs and an upload at 115200 baud take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSettings:
    """One board of a lab; `address` has a form of `profilers.serial.ports`."""

    name: str
    address: str
    bauds: Sequence[int] = (115200, 9600)
    io_manager: bool = False
    """The board is behind an MLPerf Tiny IO manager, which has the port."""
    window_s: float | None = None
    """Length of a window on the board's clock; None: 10 s on silicon, a million ticks on an emulator."""
    inputs: int = OFFICIAL_INPUTS
    warmups: int = 10
    timeout_s: float | None = None
    """Time for one network; None: the plan's, and at least ten minutes on silicon."""
    clock_hz: int | None = None
    """Overrides the clock that the firmware states; needed where it states none."""
    cycles_per_instruction: float = 1.0
    """The assumption that turns an emulator's instructions into time."""
    holds_model_id: str | None = None
    """Which model firmware without the upload extension holds: the sha256 of its file."""
    boot_s: float = 5.0
    replug_s: float = 10.0
    """How long to wait for a board that was unplugged."""
    attempts: int = 3
