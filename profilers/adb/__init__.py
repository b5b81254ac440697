"""Phones and Linux boards over ADB: `adb:NAME` of the lab's inventory, `adb:HOST:PORT`, `adb:usb:SERIAL`."""

from __future__ import annotations

from perfsage.device import Device
from profilers.profiler import Profiler

__all__ = ["describe_device", "open_device"]


def open_device(name: str) -> Profiler:
    """Return the profiler of a phone; nothing is connected before the first measurement."""
    from profilers.adb.profiler import open_adb

    return open_adb(name)


def describe_device(name: str) -> Device:
    """Return what a phone is, without connecting."""
    from profilers.adb.profiler import describe_adb

    return describe_adb(name)
