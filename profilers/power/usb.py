"""Cutting a phone's USB power, so that it runs from its battery while energy is measured."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Protocol

from perfsage.errors import InvalidInputError, MissingExtraError, StableDeviceError


class UsbSwitch(Protocol):
    """One USB port whose power can be switched."""

    def on(self) -> None:
        """Give power."""
        ...

    def off(self) -> None:
        """Cut the power."""
        ...


@dataclass(frozen=True, slots=True)
class Uhubctl:
    """A port of a hub with per-port power switching, through the program uhubctl.

    `location` is the hub's place (`1-1.4`), `port` its port; both as `uhubctl` lists them.
    """

    location: str
    port: int

    def on(self) -> None:
        """Give power."""
        self._set("on")

    def off(self) -> None:
        """Cut the power; some hubs pretend to, so check with `perfsage lab check`."""
        self._set("off")

    def _set(self, state: str) -> None:
        program = shutil.which("uhubctl")
        if program is None:
            raise StableDeviceError(
                "the program uhubctl is not installed", hint="Install it: apt-get install uhubctl."
            )
        done = subprocess.run(
            [program, "-l", self.location, "-p", str(self.port), "-a", state],
            capture_output=True,
            text=True,
            timeout=30,
        )
        if done.returncode != 0:
            raise StableDeviceError(
                f"uhubctl could not switch the port {state}: {(done.stderr or done.stdout).strip()[-300:]}",
                where=f"hub {self.location} port {self.port}",
                hint="Run uhubctl without arguments to see the hubs that can be switched; it may need root.",
            )


@dataclass(frozen=True, slots=True)
class Ykush:
    """A downstream port of a Yepkit YKUSH hub, through the package pykush."""

    serial: str
    port: int

    def on(self) -> None:
        """Give power."""
        self._set(True)

    def off(self) -> None:
        """Cut the power."""
        self._set(False)

    def _set(self, powered: bool) -> None:
        try:
            from pykush.pykush import PYKUSH
        except ImportError:
            raise MissingExtraError("pykush", "power") from None
        try:
            hub = PYKUSH(self.serial or None)
            (hub.enable if powered else hub.disable)(self.port)
        except Exception as error:  # ValueError of its own, NoBackendError and USBError of pyusb
            raise StableDeviceError(
                f"the YKUSH hub cannot be switched: {error}",
                where=f"hub {self.serial or 'any'} port {self.port}",
                hint="Check that it is plugged in and that a udev rule lets you use it.",
            ) from error


def make_switch(kind: str, *, location: str = "", port: int = 0, serial: str = "") -> UsbSwitch:
    """Return the switch that an inventory describes: `uhubctl` or `ykush`."""
    if kind == "uhubctl":
        return Uhubctl(location, port)
    if kind == "ykush":
        return Ykush(serial, port)
    raise InvalidInputError(f"there is no USB switch {kind!r}", hint="Known: uhubctl, ykush.")
