"""Which devices are attached: those of the inventory, and phones at this machine's USB ports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perfsage.device import Device
from perfsage.errors import MissingExtraError
from profilers.adb.attached import USB_DEVICES, attached_phones
from profilers.lab import Lab


def attached_devices(lab: Lab, usb: Path = USB_DEVICES) -> list[Device]:
    """Return the devices in the inventory and phones at a cable beside them, without connecting."""
    found: list[Device] = []
    for name in lab.phones:
        try:
            found.append(_phone(lab, name))
        except MissingExtraError:
            continue
    found += [_board(name) for name, entry in lab.boards.items() if entry.get("kind") == "serial"]
    known = {phone.settings.address for phone in lab.phones.values()}
    for serial, words in attached_phones(usb).items():
        if not {f"usb:{serial}", "usb:"} & known:
            found.append(replace(_phone(lab, f"usb:{serial}"), description=f"{words}, attached over USB"))
    return found


def _phone(lab: Lab, name: str) -> Device:
    profiler = lab.open_attached(name)
    try:
        return profiler.describe()
    finally:
        profiler.close()


def _board(name: str) -> Device:
    from profilers.serial.profiler import describe_serial

    return describe_serial(f"serial:{name}")
