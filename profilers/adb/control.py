"""Settings of a phone that are changed while it measures, and put back afterwards."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass

from perfsage.errors import DeviceError
from profilers.adb.jobs import ROOT, Jobs
from profilers.adb.transport import Adb

UNDO = f"{ROOT}/undo.sh"
"""On the phone: what puts it back, written before anything is changed, so that it outlives a killed host."""
SWITCH_S = 30.0


@dataclass(frozen=True, slots=True)
class Controls:
    """What to change while measuring. Nothing is changed unless asked for."""

    fixed_performance: bool = False
    """Android 11 and later: clocks within bounds that the maker chose, not the highest ones."""
    screen_off: bool = False
    airplane_mode: bool = False
    """A phone that is reached over the network gets its Wi-Fi back at once; the connection breaks between."""


class Control:
    """Applies controls, and undoes them in reverse order."""

    def __init__(self, adb: Adb, jobs: Jobs, controls: Controls) -> None:
        self._adb = adb
        self._jobs = jobs
        self._controls = controls
        self._undo: list[str] = []

    def apply(self) -> dict[str, str | int | float | bool]:
        """Change what was asked for and return what came of it, as conditions."""
        self.put_back()
        done: dict[str, str | int | float | bool] = {}
        if self._controls.airplane_mode:
            done["airplane_mode_set"] = self._airplane_mode()
        if self._controls.fixed_performance:
            self._remember("cmd power set-fixed-performance-mode-enabled false")
            done["fixed_performance_mode"] = self._try("cmd power set-fixed-performance-mode-enabled true")
        if self._controls.screen_off:
            # KEYCODE_SLEEP: never wakes, unlike POWER
            done["screen_off_set"] = self._try("input keyevent 223")
        return done

    def restore(self) -> None:
        """Put the phone back as it was, as far as it can still be reached."""
        if self._undo:
            self._undo = []
            with contextlib.suppress(DeviceError):
                self.put_back()

    def put_back(self) -> bool:
        """Undo what this run, or one whose host died, has changed; return whether there was anything."""
        text = f"[ -e {UNDO} ] || exit 0; sh {UNDO} >/dev/null 2>&1; rm -f {UNDO}; echo undone"
        return self._adb.run(text).text == "undone\n"

    def _airplane_mode(self) -> bool:
        was_on = self._adb.run("settings get global airplane_mode_on", check=False).text.strip() == "1"
        if not was_on:
            self._remember("cmd connectivity airplane-mode disable")
        command = "cmd connectivity airplane-mode enable"
        if self._adb.address.host is not None:
            command += " && svc wifi enable"
        # As a job: it goes on when the radio takes the connection away.
        with self._jobs.start(["sh", "-c", command], limit_s=SWITCH_S) as job:
            return job.wait(SWITCH_S + self._adb.patience_s).code == 0

    def _remember(self, command: str) -> None:
        self._undo.insert(0, command)
        lines = " ".join(shlex.quote(line) for line in self._undo)
        self._adb.run(f"mkdir -p {ROOT}; printf '%s\\n' {lines} >{UNDO}")

    def _try(self, command: str) -> bool:
        return self._adb.run(command, check=False).code == 0
