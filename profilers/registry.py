"""Device names: which exist, what they are, and how to open them. Nothing here starts or imports a tool.

A name is looked up whole (`host-cpu`, `tflm`), then by its prefix (`ethos-`). A family of
attached devices adds a line to the table, or calls `register_family`, with a prefix that ends in ":" or "-".
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perfsage.device import Device
from perfsage.errors import UnknownNameError
from perfsage.measurement import Mode
from profilers.profiler import Profiler
from profilers.workers import WorkerPool


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family's functions live, each as "module:function".

    `open` takes the device's name, and a keyword `pool` if `shares_pool`, and returns a Profiler;
    `describe` takes the name and returns its Device without starting anything.
    """

    open: str
    describe: str
    shares_pool: bool = False
    names: str | None = None
    """A function that lists the family's names, for families that can be listed."""
    mode: Mode = Mode.MEASURED
    """Whether its devices run models, or a tool only says what they would cost."""


_FAMILIES: dict[str, Family] = {
    "host-cpu": Family("profilers.host.litert:open_host", "profilers.host.litert:describe_host"),
    "tflm": Family("profilers.mcu.tflm:open_tflm", "profilers.mcu.tflm:describe_tflm", shares_pool=True),
    "ethos-": Family(
        "profilers.npu.ethos_u:EthosUProfiler",
        "profilers.npu.ethos_u:describe_ethos_u",
        shares_pool=True,
        names="profilers.npu.configuration:configuration_names",
        mode=Mode.SIMULATED,
    ),
    "adb:": Family("profilers.adb.profiler:open_adb", "profilers.adb.profiler:describe_adb"),
    "serial:": Family("profilers.serial.profiler:open_serial", "profilers.serial.profiler:describe_serial"),
}


def device_names() -> list[str]:
    """Return the devices that need no hardware, in the order of a table."""
    names: list[str] = []
    for key, family in _FAMILIES.items():
        if family.names:
            names.extend(_function(family.names)())
        elif not key.endswith((":", "-")):
            names.append(key)
    return names


def describe(name: str) -> Device:
    """Return the device called `name`; UnknownNameError lists what exists.

    >>> describe("ethos-u55-128").descriptors["macs_per_cycle"]
    128.0
    """
    device: Device = _function(_family(name).describe)(name)
    return device


def open_profiler(name: str, *, pool: WorkerPool | None = None) -> Profiler:
    """Return the profiler of a device, ready to measure; close it when done.

    `pool` lends the workers of a collection to tools that can share them; the others (the host's CPU, which
    must measure alone, and attached devices) do not use it.
    """
    family = _family(name)
    options = {"pool": pool} if family.shares_pool else {}
    profiler: Profiler = _function(family.open)(name, **options)
    return profiler


def shares_pool(name: str) -> bool:
    """Say whether this device's jobs may run beside others in a shared pool of workers."""
    return _family(name).shares_pool


def mode_of(name: str) -> Mode:
    """Say whether this device's figures are measured or simulated."""
    return _family(name).mode


def register_family(prefix: str, family: Family) -> None:
    """Add a family of devices: a whole name, or a prefix that ends in ":" or "-"."""
    _FAMILIES[prefix] = family


def _family(name: str) -> Family:
    for key, family in _FAMILIES.items():
        if name == key or (key.endswith((":", "-")) and name.startswith(key) and name != key):
            return family
    hint = f"Known devices: {', '.join(device_names())}."
    raise UnknownNameError(f"there is no device {name!r}", hint=hint)


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function
