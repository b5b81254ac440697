"""The inventory of a lab: which phones and instruments there are, and how they are wired.

A TOML file, found at `PERFSAGE_LAB`, ./lab.toml or ~/.config/perfsage/lab.toml. docs/lab.md describes it.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsage.errors import InvalidInputError, MissingExtraError, UnknownNameError
from profilers.adb.address import Address
from profilers.adb.settings import PhoneSettings

if TYPE_CHECKING:
    from profilers.adb.profiler import AdbProfiler
    from profilers.lab_schema import DeviceEntry, LabFile
    from profilers.profiler import Profiler

MAX_LAB_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone of the inventory with what is wired to it."""

    settings: PhoneSettings
    monitor: str | None = None
    """`battery`, `odpm`, or the name of a monitor of the inventory."""
    monitor_options: dict[str, Any] = field(default_factory=dict)
    usb_switch: dict[str, Any] | None = None
    host: str | None = None
    """The machine that the phone is attached to; None for this one."""


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything in the inventory, by name."""

    path: Path | None = None
    phones: dict[str, Phone] = field(default_factory=dict)
    monitors: dict[str, dict[str, Any]] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Entries of other kinds, such as `serial`, as they stand in the file."""

    def phone(self, name: str) -> Phone:
        """Return the phone called `name`, or one for an address that is not in the inventory."""
        if name in self.phones:
            return self.phones[name]
        try:
            Address.parse(name)
        except InvalidInputError:
            known = ", ".join(self.phones) or "none"
            raise UnknownNameError(
                f"there is no phone {name!r}",
                where=str(self.path) if self.path else "no lab.toml was found",
                hint=f"Known: {known}. An address such as 10.0.0.7:5555 works as well.",
            ) from None
        return Phone(PhoneSettings(name=name, address=name))

    def open_phone(self, name: str) -> Profiler:
        """Return the profiler of a phone; over the cluster where it is attached to another host."""
        phone, scheduler = self.phone(name), os.environ.get("PERFSAGE_SCHEDULER")
        if phone.host is None or not scheduler:
            return self.open_attached(name)
        from profilers.lab_hosts import HostedPhone

        return HostedPhone(scheduler, name)

    def open_attached(self, name: str) -> AdbProfiler:
        """Return the profiler of a phone that this machine reaches, with its monitor and USB switch."""
        from profilers.adb.profiler import AdbProfiler
        from profilers.power.instruments import ON_PHONE, open_instrument
        from profilers.power.usb import make_switch

        phone = self.phone(name)
        switch = make_switch(**phone.usb_switch) if phone.usb_switch else None
        if phone.monitor is None or phone.monitor in ON_PHONE:
            return AdbProfiler(
                phone.settings, monitor=phone.monitor, switch=switch, monitor_options=phone.monitor_options
            )
        options = dict(self.monitors[phone.monitor])
        monitor = open_instrument(options.pop("kind"), options)
        return AdbProfiler(phone.settings, monitor=monitor, switch=switch)


def lab_path() -> Path | None:
    """Return where the inventory lies, None where there is none."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if chosen := os.environ.get("PERFSAGE_LAB"):
        return Path(chosen)
    return next((p for p in (Path("lab.toml"), config / "perfsage" / "lab.toml") if p.exists()), None)


def find_lab() -> Lab:
    """Return the inventory, an empty one where there is no file."""
    path = lab_path()
    return read_lab(path) if path else Lab()


def read_lab(path: Path) -> Lab:
    """Read an inventory; InvalidInputError names the field that is wrong."""
    try:
        from pydantic import ValidationError

        from profilers.lab_schema import LabFile
    except ImportError:
        raise MissingExtraError("pydantic", "adb") from None
    try:
        if path.stat().st_size > MAX_LAB_BYTES:
            raise InvalidInputError(f"the inventory is longer than {MAX_LAB_BYTES} bytes", where=str(path))
        content = LabFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        entries = content.phones()
    except OSError as error:
        raise InvalidInputError(f"the inventory cannot be read: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the inventory is not TOML: {error}", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(
            f"{place}: {first['msg']}", where=str(path), hint="docs/lab.md describes every field."
        ) from None
    return _lab(path, content, entries)


def _lab(path: Path, content: LabFile, entries: dict[str, DeviceEntry]) -> Lab:
    boards = {name: entry for name, entry in content.devices.items() if entry.get("kind", "adb") != "adb"}
    monitors = {name: dict(entry) for name, entry in content.monitors.items()}
    for name, entry in entries.items():
        _check_monitor(path, name, entry, monitors)
    phones = {name: entry.phone(name, path.parent) for name, entry in entries.items()}
    return Lab(path, phones, monitors, boards)


def _check_monitor(path: Path, name: str, entry: DeviceEntry, monitors: dict[str, Any]) -> None:
    from profilers.power.instruments import ON_PHONE

    monitor = entry.energy.monitor
    if monitor is not None and monitor not in monitors and monitor not in ON_PHONE:
        known = ", ".join([*ON_PHONE, *monitors])
        raise InvalidInputError(
            f"devices.{name}.energy.monitor: there is no monitor {monitor!r}",
            where=str(path),
            hint=f"Known: {known}.",
        )
