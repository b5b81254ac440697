"""Tries everything in the inventory, and says what is wrong and how to mend it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perfsage.errors import DeviceError, PerfsageError
from profilers.adb.clock import read_clock
from profilers.adb.conditions import read_state, thermal_name
from profilers.adb.jobs import Jobs
from profilers.adb.lock import phone_lock
from profilers.adb.properties import Properties, read_properties
from profilers.adb.runner import install
from profilers.adb.transport import Adb
from profilers.lab import Lab, Phone
from profilers.power.battery import BatteryGauge, find_gauges
from profilers.power.instruments import open_instrument
from profilers.power.monitor import PowerTrace
from profilers.power.odpm import find_counters, read_rails
from profilers.power.powerstats import read_channels
from profilers.power.usb import make_switch

LOOK_S = 1.5
"""How long a monitor is watched."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: `ok`, `warning` or `error`, and what to do about it."""

    subject: str
    check: str
    state: str
    message: str
    hint: str = ""


def check_lab(lab: Lab) -> Iterator[Finding]:
    """Try every phone and every monitor of the inventory, one finding at a time."""
    if not lab.phones and not lab.monitors:
        yield Finding("lab", "inventory", "warning", "nothing is in it", "docs/lab.md shows how to begin.")
    for name, phone in lab.phones.items():
        yield from check_phone(name, phone)
    for name, options in lab.monitors.items():
        yield from check_monitor(name, options)


def check_phone(name: str, phone: Phone) -> Iterator[Finding]:
    """Try one phone: connection, storage, runner, heat, charger, power source, USB switch."""
    settings = phone.settings
    adb = Adb(settings.address, key_path=settings.key_path, patience_s=min(5.0, settings.patience_s))
    try:
        with phone_lock(adb.address):
            properties = read_properties(adb)
            yield Finding(name, "connection", "ok", _identity(properties))
            yield from _check_connected(name, phone, adb, properties)
    except PerfsageError as error:
        yield _failed(name, "connection", error)
    finally:
        adb.close()


def _check_connected(name: str, phone: Phone, adb: Adb, properties: Properties) -> Iterator[Finding]:
    jobs = Jobs(adb)
    checks: dict[str, Callable[[], str]] = {
        "leftovers": lambda: _leftovers(jobs),
        "storage": lambda: f"{(adb.free_bytes('/data/local/tmp') or 0) >> 20} MB free",
        "runner": lambda: _runner(phone, adb, jobs, properties),
        "clock": lambda: f"known within {read_clock(adb).map.error_s * 1e3:.0f} ms",
        "power sources": lambda: _sources(adb),
    }
    for check, action in checks.items():
        yield _tried(name, check, action)
    yield _heat(name, phone, adb)
    if phone.monitor == "battery":
        yield _tried(name, "battery", lambda: _watch(BatteryGauge(adb, jobs, **phone.monitor_options)))
    if phone.usb_switch is not None:
        yield _tried(name, "usb switch", lambda: _switch(phone, adb))


def check_monitor(name: str, options: dict[str, object]) -> Iterator[Finding]:
    """Try one instrument: open it, watch it, and say what it shows."""
    rest = dict(options)
    kind = str(rest.pop("kind"))
    yield _tried(name, f"monitor {kind}", lambda: _watch(open_instrument(kind, rest)))


def _identity(properties: Properties) -> str:
    words = (properties.model, properties.soc, properties.system, properties.abi, *properties.clusters())
    return ", ".join(word for word in words if word)


def _leftovers(jobs: Jobs) -> str:
    ended = jobs.clean()
    return f"{ended} processes of an interrupted run were ended" if ended else "nothing was left behind"


def _runner(phone: Phone, adb: Adb, jobs: Jobs, properties: Properties) -> str:
    installed = install(adb, jobs, phone.settings.runner, properties.abi)
    known = sorted(flag for flag in installed.flags if flag.startswith("use_"))
    kind = "PerfSAGE's board runner" if installed.is_board_runner else "benchmark_model"
    return f"{kind} {installed.digest}" + (f" with {', '.join(known)}" if known else "")


def _sources(adb: Adb) -> str:
    found = [gauge.name for gauge in find_gauges(adb)]
    if find_counters(adb):
        found.append(f"odpm: {', '.join(read_rails(adb)) or 'no rails enabled'}")
    if channels := read_channels(adb):
        found.append(f"powerstats lists {len(channels)} channels")
    return "; ".join(found) or "none on the phone: energy needs an external monitor"


def _heat(name: str, phone: Phone, adb: Adb) -> Finding:
    try:
        state = read_state(adb)
    except DeviceError as error:
        return _failed(name, "state", error)
    heat = "no thermal status" if state.thermal_status is None else thermal_name(state.thermal_status)
    words = f"{heat}, {state.charging or 'charging unknown'}, {state.hottest_c or 'no'} degrees"
    if not phone.settings.cooling.is_met(state):
        return Finding(name, "state", "warning", f"too hot to measure: {words}", "It will be waited for.")
    if phone.monitor == "battery" and state.powered and phone.usb_switch is None:
        hint = "Unplug it, or configure a usb_switch."
        return Finding(name, "state", "warning", f"energy will be refused while plugged in: {words}", hint)
    return Finding(name, "state", "ok", words)


def _watch(monitor: object) -> str:
    trace = _short_trace(monitor)
    flags = f", {', '.join(sorted(trace.flags))}" if trace.flags else ""
    mean = "" if trace.power_w is None else f"{float(trace.power_w.mean()):.3g} W, "
    return f"{mean}a new value every {trace.refresh_s:.3g} s{flags}"


def _short_trace(monitor: object) -> PowerTrace:
    from profilers.power.monitor import PowerMonitor

    assert isinstance(monitor, PowerMonitor)
    try:
        monitor.start()
        time.sleep(LOOK_S)
        return monitor.stop()
    finally:
        monitor.close()


def _switch(phone: Phone, adb: Adb) -> str:
    assert phone.usb_switch is not None
    switch = make_switch(**phone.usb_switch)
    switch.off()
    try:
        time.sleep(1.0)
        state = read_state(adb)
    finally:
        switch.on()
    return (
        "the phone noticed" if state.powered is False else "switched, but the phone still reports a charger"
    )


def _tried(subject: str, check: str, action: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, check, "ok", action())
    except PerfsageError as error:
        return _failed(subject, check, error)


def _failed(subject: str, check: str, error: PerfsageError) -> Finding:
    place = f" ({error.where})" if error.where else ""
    return Finding(subject, check, "error", f"{error.what}{place}", error.hint or "")
