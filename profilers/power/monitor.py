"""What every power source gives: a trace of power or energy over time, on a stated clock.

A monitor is started before the work and stopped after it; what it returns is integrated over the window in
which the work ran (`profilers.power.energy`). Sources on a phone stamp their samples with the phone's clock,
bench instruments with the host's: `PowerTrace.clock` says which, and `ClockMap` leads from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidInputError

FloatArray = NDArray[np.float64]


class Clock(StrEnum):
    """Whose clock a time belongs to; both count seconds and never step back."""

    HOST = "host_monotonic"
    """`time.monotonic()` of this machine."""
    DEVICE = "device_boottime"
    """Seconds since the device booted, as in /proc/uptime."""


class Flag(StrEnum):
    """What is known against a trace. Some flags make `integrate` refuse it: see `energy.REFUSING`."""

    PLUGGED_IN = "plugged_in"
    STALE = "stale"
    UNKNOWN_SIGN = "unknown_sign"
    UNKNOWN_UNIT = "unknown_unit"
    DROPPED_SAMPLES = "dropped_samples"
    OVERRANGE = "overrange"
    CLOCK_JUMPED = "clock_jumped"
    ASSUMED_VOLTAGE = "assumed_voltage"
    """Only the current was measured; the voltage is the configured one."""
    PARTIAL_RAILS = "partial_rails"
    """The rails that are seen do not add up to the whole device."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in seconds on `clock`."""

    start_s: float
    end_s: float
    clock: Clock = Clock.HOST

    def __post_init__(self) -> None:
        """Refuse a window that ends before it starts."""
        if not self.end_s > self.start_s:
            raise InvalidInputError(f"a window from {self.start_s} s to {self.end_s} s holds no time")

    @property
    def duration_s(self) -> float:
        """The length of the window."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Leads from a device's clock to the host's: host = device + offset, right within +-error."""

    offset_s: float
    error_s: float

    def to_host(self, window: Window) -> Window:
        """Return the same stretch of time on the host's clock."""
        return self._moved(window, Clock.HOST, self.offset_s)

    def to_device(self, window: Window) -> Window:
        """Return the same stretch of time on the device's clock."""
        return self._moved(window, Clock.DEVICE, -self.offset_s)

    def _moved(self, window: Window, clock: Clock, shift_s: float) -> Window:
        if window.clock is clock:
            return window
        return Window(window.start_s + shift_s, window.end_s + shift_s, clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTrace:
    """Power samples, or readings of an energy counter, over time.

    `timestamps_s` (n,) strictly increases on `clock`. Exactly one of `power_w` (n,) (the power at each
    timestamp) and `energy_mj` (n,) (a counter that never falls) is set. `refresh_s` is how often the source
    itself has a new value, found out from the data where the source does not say; `gain_error` is the
    instrument's stated relative error (0.01 = 1 %), None when its maker states none.
    """

    source: str
    """Such as `battery:/sys/class/power_supply/battery`, `odpm`, `monsoon`, `lpm01a`."""
    clock: Clock
    timestamps_s: FloatArray
    power_w: FloatArray | None = None
    energy_mj: FloatArray | None = None
    refresh_s: float
    gain_error: float | None = None
    clock_error_s: float = 0.0
    flags: frozenset[Flag] = frozenset()

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together, are not finite, or run backwards."""
        values = self.power_w if self.power_w is not None else self.energy_mj
        if values is None or (self.power_w is not None and self.energy_mj is not None):
            raise InvalidInputError(
                "a power trace holds either power or an energy counter", where=self.source
            )
        if self.timestamps_s.ndim != 1 or self.timestamps_s.shape != values.shape:
            raise InvalidInputError(
                f"{values.shape} values for {self.timestamps_s.shape} timestamps", where=self.source
            )
        if not (np.isfinite(self.timestamps_s).all() and np.isfinite(values).all()):
            raise InvalidInputError("a power trace holds values that are not finite", where=self.source)
        if (np.diff(self.timestamps_s) <= 0).any():
            raise InvalidInputError("the timestamps of a power trace do not increase", where=self.source)
        if self.energy_mj is not None and (np.diff(self.energy_mj) < 0).any():
            raise InvalidInputError("the energy counter of a power trace falls", where=self.source)

    @property
    def sample_rate_hz(self) -> float:
        """Mean rate of the samples in the trace; 0 with fewer than two."""
        if len(self.timestamps_s) < 2:
            return 0.0
        return float((len(self.timestamps_s) - 1) / (self.timestamps_s[-1] - self.timestamps_s[0]))

    def flagged(self, *flags: Flag) -> PowerTrace:
        """Return the trace with more known against it."""
        return replace(self, flags=self.flags | frozenset(flags))


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorInfo:
    """What a monitor is: a name, what it measures, and how well, as far as is known before it runs."""

    name: str
    kind: str
    """`battery`, `odpm`, `powerstats`, `monsoon`, `hwmon`, `joulescope`, `lpm01a`, `ppk2`, `otii`, ..."""
    measures: str
    """In words: `battery output`, `CPU rails`, `supply of the board`."""
    clock: Clock
    max_rate_hz: float | None = None
    gain_error: float | None = None
    tool: str = ""
    tool_version: str = ""
    channels: Sequence[str] = ()


@runtime_checkable
class PowerMonitor(Protocol):
    """An instrument or a counter that records power between `start` and `stop`.

    Errors: MissingExtraError where a package is absent, StableDeviceError where the instrument is not there,
    TransientDeviceError where it stopped answering. `close` may be called at any time, and twice.
    """

    def describe(self) -> MonitorInfo:
        """Return what the monitor is, without recording anything."""
        ...

    def start(self) -> None:
        """Begin to record; returns when the first sample is on its way."""
        ...

    def stop(self) -> PowerTrace:
        """End the recording and return everything since `start`."""
        ...

    def close(self) -> None:
        """Release the instrument."""
        ...
