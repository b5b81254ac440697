"""Power monitors by kind, as an inventory names them. Nothing is imported before it is used."""

from __future__ import annotations

import importlib
from typing import Any

from perfsage.errors import InvalidInputError
from profilers.power.monitor import PowerMonitor

INSTRUMENTS: dict[str, str] = {
    "monsoon": "profilers.power.monsoon:Monsoon",
    "hwmon": "profilers.power.hwmon:Hwmon",
    "joulescope": "profilers.power.joulescope:Joulescope",
    "ppk2": "profilers.power.ppk2:Ppk2",
    "otii": "profilers.power.otii:Otii",
    "lpm01a": "profilers.power.lpm01a:Lpm01a",
}
"""Kind -> "module:class"; the class takes the inventory's options as keywords."""

ON_PHONE = ("battery", "odpm")
"""Kinds that are read on the phone itself, by the phone's own profiler."""


def open_instrument(kind: str, options: dict[str, Any]) -> PowerMonitor:
    """Return the monitor of that kind; InvalidInputError where an option is wrong."""
    if kind not in INSTRUMENTS:
        raise InvalidInputError(
            f"there is no power monitor of kind {kind!r}",
            hint=f"Known: {', '.join([*INSTRUMENTS, *ON_PHONE])}.",
        )
    module, _, name = INSTRUMENTS[kind].partition(":")
    factory = getattr(importlib.import_module(module), name)
    try:
        monitor: PowerMonitor = factory(**options)
    except TypeError as error:
        raise InvalidInputError(f"the monitor's options do not fit: {error}", where=f"kind {kind}") from None
    return monitor
