"""Settings of a phone that are changed while it measures, and put back afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from perfsage.errors import DeviceError
from profilers.adb.transport import Adb


@dataclass(frozen=True, slots=True)
class Controls:
    """What to change while measuring. Nothing is changed unless asked for."""

    fixed_performance: bool = False
    """Android 11 and later: clocks within bounds that the maker chose, not the highest ones."""
    screen_off: bool = False
    airplane_mode: bool = False


class Control:
    """Applies controls, and undoes them in reverse order."""

    def __init__(self, adb: Adb, controls: Controls) -> None:
        self._adb = adb
        self._controls = controls
        self._undo: list[Callable[[], object]] = []

    def apply(self) -> dict[str, str | int | float | bool]:
        """Change what was asked for and return what came of it, as conditions."""
        done: dict[str, str | int | float | bool] = {}
        if self._controls.airplane_mode:
            was_on = self._adb.run("settings get global airplane_mode_on", check=False).text.strip() == "1"
            done["airplane_mode_set"] = self._try("cmd connectivity airplane-mode enable")
            if not was_on:
                self._undo.append(lambda: self._try("cmd connectivity airplane-mode disable"))
        if self._controls.fixed_performance:
            done["fixed_performance_mode"] = self._try("cmd power set-fixed-performance-mode-enabled true")
            self._undo.append(lambda: self._try("cmd power set-fixed-performance-mode-enabled false"))
        if self._controls.screen_off:
            done["screen_off_set"] = self._try(
                "input keyevent 223"
            )  # KEYCODE_SLEEP: never wakes, unlike POWER
        return done

    def restore(self) -> None:
        """Put the phone back as it was, as far as it can still be reached."""
        while self._undo:
            undo = self._undo.pop()
            with contextlib.suppress(DeviceError):
                undo()

    def _try(self, command: str) -> bool:
        return self._adb.run(command, check=False).code == 0
