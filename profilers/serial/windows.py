"""Measured windows: how many inferences, how long each took, and what energy it cost."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.power.energy import EnergyRefusalError, RefusalReason, integrate
from profilers.power.monitor import PowerMonitor, PowerTrace, Window
from profilers.serial.dut import Inference
from profilers.serial.errors import NoAnswerError, TooSlowError
from profilers.serial.extension import TickUnit
from profilers.serial.session import Session
from profilers.serial.settings import OFFICIAL_ITERATIONS, OFFICIAL_WINDOW_S

EXACT_TICKS = 1_000_000
"""A window of this many ticks is exact to one in a million."""
VIRTUAL_WINDOW_S = 0.2
TRIAL_S = 0.2
SETTLE_S = 0.05
MAX_ITERATIONS = 1_000_000_000
MARGIN = 1.1
"""The trial runs cold and slower than the windows, which must not come out too short for that."""


class EdgeMonitor(PowerMonitor, Protocol):
    """A power monitor that also sees the board's timestamp pin."""

    def supply(self) -> None:
        """Open the instrument, and power the board where it does that; harmless when all is on."""
        ...

    def edges_s(self) -> tuple[float, ...]:
        """Return when the pin gave an edge since `start`, on the trace's clock; valid after `stop`."""
        ...


@dataclass(frozen=True, slots=True)
class Rate:
    """What a trial showed of one inference: seconds on the board's clock, and on ours."""

    board_s: float
    host_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One window: seconds an inference, and where known instructions or cycles and millijoules."""

    latency_s: float
    window_s: float
    units: float | None = None
    energy_mj: float | None = None
    energy_uncertainty_mj: float | None = None
    average_power_w: float | None = None
    energy_refused: str | None = None
    """Why the energy of this window cannot be trusted."""


class Windows:
    """Runs windows on a board; with a monitor that sees edges, also in energy mode."""

    def __init__(self, session: Session, monitor: EdgeMonitor | None) -> None:
        self.session = session
        self.monitor = monitor

    def trial(self, limit_s: float) -> Rate:
        """Run ever more inferences until they take long enough to be timed."""
        iterations, deadline = 1, time.monotonic() + limit_s
        while True:
            begin = time.monotonic()
            left_s = max(deadline - begin, 0.1)
            inference = self._infer_within(iterations, left_s)
            host_s = time.monotonic() - begin
            board_s = host_s if inference.window_us is None else inference.window_us / 1e6
            enough = self._exact and board_s > 0
            if enough or board_s >= TRIAL_S or host_s > left_s / 4:
                return Rate(self._real_s(board_s) / iterations, host_s / iterations)
            iterations *= 10

    def _infer_within(self, iterations: int, limit_s: float) -> Inference:
        try:
            return self.session.dut.infer(iterations, 0, timeout_s=limit_s)
        except NoAnswerError as error:
            if b"m-infer-start" not in error.received or b"m-infer-done" in error.received:
                raise
            raise TooSlowError(
                f"the board was not done with {iterations} inferences after {limit_s:.3g} s",
                where=self.session.settings.name,
                hint="Set timeout_s for this board in lab.toml, or use a smaller network.",
            ) from error

    def iterations(self, rate: Rate, budget_s: float) -> int:
        """Return how many inferences make a window of the wanted length within `budget_s` of our time."""
        wanted_s, least = self._wanted_s, 1 if self._simulated else OFFICIAL_ITERATIONS
        wanted = max(least, math.ceil(MARGIN * wanted_s / max(rate.board_s, 1e-9)))
        affordable = int(budget_s / max(rate.host_s, 1e-9))
        return max(1, min(wanted, affordable, MAX_ITERATIONS))

    def run(self, iterations: int, warmups: int, timeout_s: float) -> Sample:
        """Run one window."""
        if self.session.energy_mode:
            return self._run_with_edges(iterations, warmups, timeout_s)
        inference = self.session.dut.infer(iterations, warmups, timeout_s=timeout_s)
        if inference.window_us is None:
            raise TransientDeviceError("the window has no timestamps", where=self.session.settings.name)
        if (extension := self.session.extension) is None:
            seconds = inference.window_us / 1e6
            return Sample(seconds / iterations, seconds)
        units = extension.ticks() * extension.info.units_per_kilotick / 1000
        seconds = self.seconds(units)
        return Sample(seconds / iterations, seconds, units / iterations)

    def seconds(self, units: float) -> float:
        """Return the time that a number of cycles, instructions or nanoseconds stands for."""
        extension = self.session.extension
        assert extension is not None
        if extension.info.tick_unit is TickUnit.NANOSECONDS:
            return units / 1e9
        cycles = units
        if extension.info.tick_unit is TickUnit.INSTRUCTIONS:
            cycles = units * self.session.settings.cycles_per_instruction
        return cycles / self.clock_hz

    @property
    def clock_hz(self) -> int:
        """The core's clock, as set or as the firmware states it."""
        extension = self.session.extension
        clock_hz = self.session.settings.clock_hz or (extension.info.clock_hz if extension else None)
        if not clock_hz:
            raise StableDeviceError(
                "the board does not state its clock",
                where=self.session.settings.name,
                hint="Set clock_hz for this board in lab.toml.",
            )
        return clock_hz

    @property
    def _tick_unit(self) -> TickUnit | None:
        return self.session.extension.info.tick_unit if self.session.extension else None

    @property
    def _simulated(self) -> bool:
        return self._tick_unit in (TickUnit.INSTRUCTIONS, TickUnit.NANOSECONDS)

    @property
    def _exact(self) -> bool:
        return self._tick_unit is TickUnit.INSTRUCTIONS

    @property
    def _wanted_s(self) -> float:
        if self.session.settings.window_s is not None:
            return self.session.settings.window_s
        if self._exact:
            assert self.session.extension is not None
            return self.seconds(EXACT_TICKS * self.session.extension.info.units_per_kilotick / 1000)
        return VIRTUAL_WINDOW_S if self._simulated else OFFICIAL_WINDOW_S

    def _real_s(self, board_s: float) -> float:
        """Return what `seconds` would say of a stretch on the board's own clock.

        An emulator's clock runs with its instructions, one a nanosecond.
        """
        return self.seconds(board_s * 1e9) if self._exact else board_s

    def _run_with_edges(self, iterations: int, warmups: int, timeout_s: float) -> Sample:
        if self.monitor is None:
            raise StableDeviceError(
                "the board runs energy-mode firmware, whose time only a power monitor can tell",
                where=self.session.settings.name,
                hint="Name its power monitor in lab.toml, or flash performance-mode firmware.",
            )
        self.monitor.start()
        try:
            self.session.dut.infer(iterations, warmups, timeout_s=timeout_s)
            # The last edge is still on its way through the instrument.
            time.sleep(SETTLE_S)
        finally:
            trace = self.monitor.stop()
        return self._cut(trace, self.monitor.edges_s(), iterations)

    def _cut(self, trace: PowerTrace, edges_s: tuple[float, ...], iterations: int) -> Sample:
        """Energy of an inference by MLPerf Tiny: between the last two edges, over the iterations."""
        if len(edges_s) < 2 or edges_s[-1] <= edges_s[-2]:
            raise TransientDeviceError(
                f"the power monitor saw {len(edges_s)} timestamp edges, not 2 apart from each other",
                where=trace.source,
                hint="Check the wire from the board's timestamp pin to the monitor's input.",
            )
        window = Window(edges_s[-2], edges_s[-1], trace.clock)
        latency_s = window.duration_s / iterations
        try:
            energy = integrate(trace, window)
        except EnergyRefusalError as error:
            if error.reason is RefusalReason.NOT_COVERED:
                # The stream broke off or came late: another try may see all of it.
                raise TransientDeviceError(error.what, where=error.where, hint=error.hint) from error
            return Sample(latency_s, window.duration_s, energy_refused=str(error))
        gross_mj, _, uncertainty_mj = energy.per_inference(iterations)
        return Sample(
            latency_s=latency_s,
            window_s=window.duration_s,
            energy_mj=gross_mj,
            energy_uncertainty_mj=uncertainty_mj,
            average_power_w=energy.gross_mj / 1e3 / window.duration_s,
        )
