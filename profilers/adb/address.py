"""Where a phone is reached: over TCP or over USB."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfsage.errors import InvalidInputError

_TCP = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_USB = re.compile(r"usb:(?P<serial>[A-Za-z0-9._:-]{1,64})?")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP host and port, or a USB serial number (empty = the only phone there is)."""

    host: str | None = None
    port: int = 5555
    usb_serial: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `HOST:PORT`, `[IPv6]:PORT`, `usb:` or `usb:SERIAL`."""
        if found := _USB.fullmatch(text):
            return cls(usb_serial=found["serial"] or "")
        found = _TCP.fullmatch(text)
        if not found or not 0 < int(found["port"]) < 65536:
            raise InvalidInputError(
                f"{text!r} is not the address of a phone",
                hint="Write HOST:PORT, such as 10.0.0.7:5555, or usb:SERIAL.",
            )
        return cls(host=found["host"].strip("[]"), port=int(found["port"]))

    def __str__(self) -> str:
        if self.host is None:
            return f"usb:{self.usb_serial}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
