"""Phones at this machine's USB ports, found without opening them: Linux lists their interfaces."""

from __future__ import annotations

from pathlib import Path

USB_DEVICES = Path("/sys/bus/usb/devices")
ADB_INTERFACE = ("ff", "42", "01")
"""Class, subclass and protocol of an interface that speaks ADB (Android's adb/transport, usb.h)."""


def attached_phones(root: Path = USB_DEVICES) -> dict[str, str]:
    """Return the serial number and the name of every phone that offers ADB over USB; none elsewhere."""
    found: dict[str, str] = {}
    for interface in sorted(root.glob("*:*")) if root.exists() else []:
        names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
        if tuple(_text(interface / name).lower() for name in names) != ADB_INTERFACE:
            continue
        device = root / interface.name.partition(":")[0]
        if serial := _text(device / "serial"):
            words = (_text(device / "manufacturer"), _text(device / "product"))
            found[serial] = " ".join(word for word in words if word) or "phone"
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
