"""One long run of a model between two idle windows, recorded by a power monitor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from perfsage.errors import InvalidInputError, PerfsageError, StableDeviceError
from profilers.adb.clock import read_clock
from profilers.adb.command import command, for_energy
from profilers.adb.conditions import read_state
from profilers.adb.session import Session
from profilers.adb.visit import JOB_MARGIN_S, Visit, finish
from profilers.power.battery import BatteryGauge
from profilers.power.energy import Energy, IdleBand, integrate
from profilers.power.monitor import Clock, ClockMap, PowerMonitor, PowerTrace, Window
from profilers.power.odpm import Odpm
from profilers.power.usb import UsbSwitch
from profilers.profiler import Plan

ON_PHONE = {"battery": BatteryGauge, "odpm": Odpm}
IDLE_BANDS = {"battery": IdleBand(0.03, 5.0), "odpm": IdleBand(0.0, 5.0)}
"""The idle power, in watts, that a phone can have when nothing else runs; rails are only a part of it.
What an instrument beside it sees may be a board of any size: it is bounded by the inventory alone."""


@dataclass(frozen=True, slots=True)
class EnergyResult:
    """The energy of a run, how many inferences it holds, and the run itself."""

    energy: Energy
    inferences: int
    visit: Visit
    usb_power_cut: bool


class EnergyRun:
    """Measures energy with one monitor. The phone is left alone while it works."""

    def __init__(
        self,
        session: Session,
        monitor: PowerMonitor | str,
        switch: UsbSwitch | None,
        options: dict[str, object],
    ) -> None:
        self._session = session
        self._given = monitor
        self._options = options
        self._switch = switch
        self._monitor: PowerMonitor | None = None
        self._is_cut = False
        if isinstance(monitor, str) and monitor not in ON_PHONE:
            raise InvalidInputError(
                f"there is no power source {monitor!r}", hint=f"Known: {', '.join(ON_PHONE)}."
            )

    def close(self) -> None:
        """Release the monitor and give the phone its USB power back."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.close()
        if self._switch is not None and self._is_cut:
            self._switch.on()

    def give_power(self) -> None:
        """Switch the phone's USB port on: a host that was killed may have left it without power."""
        if self._switch is not None:
            with suppress(PerfsageError):  # a switch that fails costs the energy later, and says so there
                self._switch.on()

    def measure(self, model: str, plan: Plan) -> EnergyResult:
        """Return the energy of the model at the path `model` on the phone.

        EnergyRefusalError where the figure could not be trusted.
        """
        session, settings = self._session, self._session.settings.energy
        monitor = self._opened()
        runner = for_energy(session.settings.runner, settings.window_s)
        words = command(session.runner, runner, model, plan.threads)
        limit_s = plan.timeout_s + settings.window_s
        with self._power_cut():
            before = session.cool()
            clock = read_clock(session.adb)
            monitor.start()
            try:
                begin_s = clock.device_now_s() + settings.settle_s
                time.sleep(settings.idle_s + 2 * settings.settle_s)
                idle_before = Window(begin_s, begin_s + settings.idle_s, Clock.DEVICE)
                with session.jobs.start(words, limit_s=limit_s) as job:
                    result = job.wait(
                        limit_s + JOB_MARGIN_S,
                        quiet_s=settings.window_s + runner.warmup_min_s,
                        patience_s=session.settings.absence_s,
                    )
                end_s = clock.device_now_s() + settings.settle_s
                time.sleep(settings.idle_s + 2 * settings.settle_s)
            except BaseException:
                monitor.close()
                self._monitor = None
                raise
            trace = monitor.stop()
        idle_after = Window(end_s, end_s + settings.idle_s, Clock.DEVICE)
        visit = finish(result, before, read_state(session.adb), [before.thermal_status])
        if visit.span_s is None or not visit.report.runs:
            raise StableDeviceError("the benchmark does not show when its runs began and how many there were")
        energy = self._integrated(
            trace, clock.map, Window(*visit.span_s, Clock.DEVICE), idle_before, idle_after
        )
        return EnergyResult(energy, visit.report.runs, visit, self._switch is not None)

    def _integrated(
        self, trace: PowerTrace, clock: ClockMap, work: Window, before: Window, after: Window
    ) -> Energy:
        if trace.clock is Clock.HOST:
            work, before, after = (clock.to_host(window) for window in (work, before, after))
        return integrate(trace, work, idle_before=before, idle_after=after, idle_band=self._idle_band())

    def _idle_band(self) -> IdleBand | None:
        source = self._given if isinstance(self._given, str) else ""
        return self._session.settings.energy.idle_band or IDLE_BANDS.get(source)

    def _opened(self) -> PowerMonitor:
        if self._monitor is None:
            if isinstance(self._given, str):
                source = ON_PHONE[self._given]
                self._monitor = source(self._session.adb, self._session.jobs, **self._options)
            else:
                self._monitor = self._given
        return self._monitor

    @contextmanager
    def _power_cut(self) -> Iterator[None]:
        """Cut the phone's USB power; ADB must reach it over the network."""
        if self._switch is None:
            yield
            return
        if self._session.adb.address.host is None:
            raise StableDeviceError(
                "the phone is connected over USB, and its USB power is to be cut",
                hint="Set tcpip_port in lab.toml: ADB is handed over to Wi-Fi then.",
            )
        self._is_cut = True
        self._switch.off()
        try:
            yield
        finally:
            self._switch.on()
            self._is_cut = False
