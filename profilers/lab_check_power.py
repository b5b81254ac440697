"""Tries what measures and switches power: a phone's own sources, instruments, USB ports."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress

from perfsage.errors import PerfsageError
from profilers.adb.conditions import read_state
from profilers.adb.energy_run import ON_PHONE
from profilers.adb.jobs import Jobs
from profilers.adb.transport import Adb
from profilers.lab import Phone
from profilers.lab_findings import Finding, failed, tried
from profilers.lab_tcpip import over_network
from profilers.power.battery import find_gauges
from profilers.power.energy import REFRESHES_PER_WINDOW, REFUSING
from profilers.power.instruments import open_instrument
from profilers.power.monitor import Flag, PowerMonitor, PowerTrace
from profilers.power.odpm import find_counters, read_rails
from profilers.power.powerstats import read_channels
from profilers.power.usb import make_switch

LOOK_S = 1.5
"""How long an instrument is watched."""
PHONE_LOOK_S = 5.0
"""The same for a phone's own gauge, which may refresh once a second."""


def check_monitor(name: str, options: dict[str, object]) -> Iterator[Finding]:
    """Try one instrument: open it, watch it, and say what it shows."""
    rest = dict(options)
    kind = str(rest.pop("kind"))
    yield tried(name, f"monitor {kind}", lambda: _seen(_short_trace(open_instrument(kind, rest), LOOK_S)))


def list_sources(adb: Adb) -> str:
    """Say which power sources a phone has of its own."""
    found = [gauge.name for gauge in find_gauges(adb)]
    if find_counters(adb):
        found.append(f"odpm: {', '.join(read_rails(adb)) or 'no rails enabled'}")
    if channels := read_channels(adb):
        found.append(f"powerstats lists {len(channels)} channels")
    return "; ".join(found) or "none on the phone: energy needs an external monitor"


def check_source(name: str, phone: Phone, adb: Adb, jobs: Jobs) -> Finding:
    """Watch the phone's own power source, and say whether energies would be refused."""
    source = str(phone.monitor)
    try:
        trace = _short_trace(ON_PHONE[source](adb, jobs, **phone.monitor_options), PHONE_LOOK_S)
    except PerfsageError as error:
        return failed(name, source, error)
    least_s, window_s = trace.refresh_s * REFRESHES_PER_WINDOW, phone.settings.energy.window_s
    against = trace.flags & REFUSING.keys()
    if phone.usb_switch is not None:  # it will cut the charger off
        against -= {Flag.PLUGGED_IN}
    hints = [REFUSING[flag][1] for flag in sorted(against)]
    if least_s > window_s:
        hints.append(f"Set energy.window_s to at least {least_s:.3g}: it is {window_s:g}.")
    state = "warning" if hints else "ok"
    return Finding(name, source, state, _seen(trace), " ".join(hints))


def give_power(phone: Phone) -> None:
    """Switch the phone's USB port on, where a killed run left it off; `check_switch` tells what fails."""
    if phone.usb_switch is not None:
        with suppress(PerfsageError):
            make_switch(**phone.usb_switch).on()


def check_switch(name: str, phone: Phone, adb: Adb) -> Finding:
    """Cut the phone's USB power for a second and ask whether it noticed: some hubs only pretend."""
    port = phone.settings.tcpip_port
    if adb.address.host is None and port is None:
        hint = "Set tcpip_port in lab.toml: ADB is handed over to Wi-Fi then."
        return Finding(name, "usb switch", "warning", "not tried: ADB itself needs this cable", hint)
    try:
        with over_network(adb, port) if port else nullcontext():
            powered = _powered_without(phone, adb)
    except PerfsageError as error:
        return failed(name, "usb switch", error)
    if powered is False:
        return Finding(name, "usb switch", "ok", "the phone noticed")
    hint = "Check the port's number; some hubs only pretend to cut the power."
    return Finding(name, "usb switch", "warning", "switched, but the phone still reports a charger", hint)


def _powered_without(phone: Phone, adb: Adb) -> bool | None:
    assert phone.usb_switch is not None
    switch = make_switch(**phone.usb_switch)
    switch.off()
    try:
        time.sleep(1.0)
        return read_state(adb).powered
    finally:
        switch.on()


def _seen(trace: PowerTrace) -> str:
    flags = f", {', '.join(sorted(trace.flags))}" if trace.flags else ""
    mean = "" if trace.power_w is None else f"{float(trace.power_w.mean()):.3g} W, "
    return f"{mean}a new value every {trace.refresh_s:.3g} s{flags}"


def _short_trace(monitor: PowerMonitor, look_s: float) -> PowerTrace:
    try:
        monitor.start()
        time.sleep(look_s)
        return monitor.stop()
    finally:
        monitor.close()
