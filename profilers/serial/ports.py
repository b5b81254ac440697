"""Finds the serial port that a name means: a path, a URL, a USB id, or a serial number.

    /dev/ttyACM0, /dev/serial/by-id/..., COM3     a path, looked up again at every opening
    socket://HOST:PORT, rfc2217://HOST:PORT       a URL that pyserial opens
    0483:374B, 0483:374B:066EFF...                vendor and product id in hex, and a serial number
    sn:066EFF...                                  a serial number alone

A board that was replugged may come back under another path; every form but a bare tty path follows it.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from perfsage.errors import InvalidInputError, MissingExtraError
from profilers.serial.errors import PortGoneError

USB_ID = re.compile(r"(?P<vid>[0-9a-fA-F]{4}):(?P<pid>[0-9a-fA-F]{4})(?::(?P<serial>.+))?")
URL = re.compile(r"(socket|rfc2217|spy|loop|hwgrep)://.+")
PATH = re.compile(r"/.+|COM\d+", re.IGNORECASE)
USUAL_BOARDS = {
    "0483:374B": "ST-Link V2.1 (Nucleo, Discovery)",
    "0483:374E": "ST-Link V3",
    "0483:5740": "ST X-NUCLEO-LPM01A power monitor",
    "2341:0043": "Arduino Uno (MLPerf Tiny IO manager)",
}


def pyserial() -> ModuleType:
    """Return pyserial, or raise MissingExtraError."""
    try:
        import serial
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyserial", "serial") from error
    module: ModuleType = serial
    return module


def parse_address(text: str) -> str:
    """Return `text` when it has one of the forms above; InvalidInputError otherwise."""
    if text.startswith("sn:") or USB_ID.fullmatch(text) or URL.fullmatch(text) or PATH.fullmatch(text):
        return text
    raise InvalidInputError(
        f"{text!r} is not the address of a serial port",
        where="serial port",
        hint="Write a path (/dev/ttyACM0), a USB id (0483:374B), sn:SERIAL or socket://HOST:PORT.",
    )


def resolve(address: str) -> str:
    """Return the path or URL to open now for `address`; PortGoneError when no port matches.

    A USB id that several boards share is refused: the message lists their serial numbers.
    """
    matcher = _matcher(address)
    if matcher is None:
        return address
    pyserial()
    from serial.tools import list_ports

    found = [port for port in list_ports.comports() if matcher(port)]
    if len(found) == 1:
        return str(found[0].device)
    if not found:
        raise PortGoneError(
            f"no serial port matches {address}", where=address, hint="Plug the board in, or check its cable."
        )
    names = ", ".join(f"{port.device} (sn:{port.serial_number})" for port in found)
    raise InvalidInputError(
        f"{len(found)} ports match {address}: {names}", where=address, hint="Name one by its serial number."
    )


def _matcher(address: str) -> Any:
    usb = USB_ID.fullmatch(address)
    if usb is not None:
        vid, pid, serial_number = int(usb["vid"], 16), int(usb["pid"], 16), usb["serial"]
        return lambda port: (port.vid, port.pid) == (vid, pid) and serial_number in (None, port.serial_number)
    if address.startswith("sn:"):
        return lambda port: port.serial_number == address[3:]
    return None
