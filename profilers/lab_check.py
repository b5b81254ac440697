"""Tries everything in the inventory, and says what is wrong and how to mend it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from perfsage.errors import DeviceError, InvalidInputError, PerfsageError
from profilers.adb.clock import read_clock
from profilers.adb.conditions import read_state, thermal_name
from profilers.adb.control import Control, Controls
from profilers.adb.energy_run import ON_PHONE
from profilers.adb.jobs import Jobs
from profilers.adb.lock import phone_lock
from profilers.adb.properties import Properties, read_properties
from profilers.adb.runner import install
from profilers.adb.transport import Adb
from profilers.lab import Lab, Phone
from profilers.lab_check_power import (
    check_monitor,
    check_source,
    check_switch,
    give_power,
    list_sources,
)
from profilers.lab_findings import Finding, failed, tried


def check_lab(lab: Lab) -> Iterator[Finding]:
    """Try every phone and every monitor of the inventory, one finding at a time."""
    if not lab.phones and not lab.monitors and not lab.boards:
        yield Finding("lab", "inventory", "warning", "nothing is in it", "docs/lab.md shows how to begin.")
    for name, phone in lab.phones.items():
        yield from check_phone(name, phone)
    for name, entry in lab.boards.items():
        yield tried(name, "board", functools.partial(_board, lab, name, entry))
    for name, options in lab.monitors.items():
        yield from check_monitor(name, options)


def check_phone(name: str, phone: Phone) -> Iterator[Finding]:
    """Try one phone: connection, storage, runner, heat, charger, power source, USB switch."""
    settings = phone.settings
    adb = Adb(settings.address, key_path=settings.key_path, patience_s=min(5.0, settings.patience_s))
    try:
        give_power(phone)
        with phone_lock(adb.address):
            properties = read_properties(adb)
            yield Finding(name, "connection", "ok", _identity(properties))
            yield from _check_connected(name, phone, adb, properties)
    except PerfsageError as error:
        yield failed(name, "connection", error)
    finally:
        adb.close()


def _check_connected(name: str, phone: Phone, adb: Adb, properties: Properties) -> Iterator[Finding]:
    jobs, settings = Jobs(adb), phone.settings
    checks: dict[str, Callable[[], str]] = {
        "leftovers": lambda: _leftovers(adb, jobs),
        "storage": lambda: f"{(adb.free_bytes('/data/local/tmp') or 0) >> 20} MB free",
        "runner": lambda: _runner(phone, adb, jobs, properties),
        "clock": lambda: f"known within {read_clock(adb).map.error_s * 1e3:.0f} ms",
        "power sources": lambda: list_sources(adb),
    }
    for check, action in checks.items():
        yield tried(name, check, action)
    yield _heat(name, phone, adb)
    if settings.controls != Controls():
        yield _controls(name, phone, adb, jobs)
    if phone.monitor in ON_PHONE:
        yield check_source(name, phone, adb, jobs)
    if phone.usb_switch is not None:
        yield check_switch(name, phone, adb)


def _identity(properties: Properties) -> str:
    words = (properties.model, properties.soc, properties.system, properties.abi, *properties.clusters())
    return ", ".join(word for word in words if word)


def _leftovers(adb: Adb, jobs: Jobs) -> str:
    ended = jobs.clean()
    undone = Control(adb, jobs, Controls()).put_back()
    words = [f"{ended} processes of an interrupted run were ended"] if ended else []
    words += ["its settings were put back"] if undone else []
    return "; ".join(words) or "nothing was left behind"


def _runner(phone: Phone, adb: Adb, jobs: Jobs, properties: Properties) -> str:
    installed = install(adb, jobs, phone.settings.runner, properties)
    known = sorted(flag for flag in installed.flags if flag.startswith("use_"))
    kind = "PerfSAGE's board runner" if installed.is_board_runner else "benchmark_model"
    return f"{kind} {installed.digest}" + (f" with {', '.join(known)}" if known else "")


def _heat(name: str, phone: Phone, adb: Adb) -> Finding:
    try:
        state = read_state(adb)
    except DeviceError as error:
        return failed(name, "state", error)
    heat = "no thermal status" if state.thermal_status is None else thermal_name(state.thermal_status)
    hottest = "temperature unknown" if state.hottest_c is None else f"{state.hottest_c:g} degrees"
    words = f"{heat}, {state.charging or 'charging unknown'}, {hottest}"
    if not phone.settings.cooling.is_met(state):
        return Finding(name, "state", "warning", f"too hot to measure: {words}", "It will be waited for.")
    if phone.monitor == "battery" and state.powered and phone.usb_switch is None:
        hint = "Unplug it, or configure a usb_switch."
        return Finding(name, "state", "warning", f"energy will be refused while plugged in: {words}", hint)
    return Finding(name, "state", "ok", words)


def _controls(name: str, phone: Phone, adb: Adb, jobs: Jobs) -> Finding:
    control = Control(adb, jobs, phone.settings.controls)
    try:
        done = control.apply()
    except PerfsageError as error:
        return failed(name, "controls", error)
    finally:
        control.restore()
    words = ", ".join(f"{what}: {'yes' if worked else 'no'}" for what, worked in done.items())
    if all(done.values()):
        return Finding(name, "controls", "ok", words)
    return Finding(name, "controls", "warning", words, "This phone does not let the shell set all of it.")


def _board(lab: Lab, name: str, entry: dict[str, Any]) -> str:
    if entry.get("kind") != "serial":
        raise InvalidInputError(
            f"there are no devices of kind {entry.get('kind')!r}", hint="Known kinds: adb, serial."
        )
    from profilers.serial.board import SerialProfiler
    from profilers.serial.lab_entry import board_entry

    settings, monitor = board_entry(name, entry, lab.monitors, lab.path.parent if lab.path else None)
    with closing(SerialProfiler(settings, monitor=monitor)) as profiler:
        return profiler.describe().description
