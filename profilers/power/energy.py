"""Energy over a window of a power trace: gross, net of idle, with its uncertainty, or a refusal.

gross = integral of the power over the window: the trapezoid rule for power samples, the difference of the
readings for an energy counter, both interpolated linearly at the window's edges. net = gross minus the idle
power (the mean of the windows before and after the work) times the window's length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from perfsage.errors import StableDeviceError
from profilers.power.monitor import Flag, FloatArray, PowerTrace, Window

REFRESHES_PER_WINDOW = 20
"""A source must refresh at least this often in a window, else the edges alone blur more than 5 %."""

LARGEST_GAP = 0.1
"""The largest share of a window that may pass without a reading."""


class RefusalReason(StrEnum):
    """Why an energy is not given."""

    PLUGGED_IN = "plugged_in"
    SLOW_REFRESH = "slow_refresh"
    STALE = "stale"
    IDLE_OUT_OF_BAND = "idle_out_of_band"
    UNKNOWN_SIGN = "unknown_sign"
    UNKNOWN_UNIT = "unknown_unit"
    NOT_COVERED = "not_covered"
    DROPPED_SAMPLES = "dropped_samples"
    OVERRANGE = "overrange"
    CLOCK = "clock"


REFUSING: dict[Flag, tuple[RefusalReason, str]] = {
    Flag.PLUGGED_IN: (
        RefusalReason.PLUGGED_IN,
        "Cut the USB power, or connect over Wi-Fi and unplug the device.",
    ),
    Flag.STALE: (RefusalReason.STALE, "The source did not refresh; lengthen the window or raise its rate."),
    Flag.UNKNOWN_SIGN: (RefusalReason.UNKNOWN_SIGN, "Set `sign` for this monitor in lab.toml."),
    Flag.UNKNOWN_UNIT: (RefusalReason.UNKNOWN_UNIT, "Set `current_unit` for this monitor in lab.toml."),
    Flag.DROPPED_SAMPLES: (RefusalReason.DROPPED_SAMPLES, "Lower the sample rate, or use another USB port."),
    Flag.OVERRANGE: (RefusalReason.OVERRANGE, "The power left the instrument's range; choose a wider one."),
    Flag.CLOCK_JUMPED: (RefusalReason.CLOCK, "The clock moved while recording; measure again."),
}


class EnergyRefusalError(StableDeviceError):
    """An energy that could not be trusted, with the machine-readable `reason`."""

    def __init__(self, reason: RefusalReason, what: str, *, where: str, hint: str) -> None:
        self.reason = reason
        super().__init__(what, where=where, hint=hint)


@dataclass(frozen=True, slots=True)
class IdleBand:
    """The idle power, in watts, that a device can have when nothing is wrong."""

    low_w: float = 0.0
    high_w: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """The energy of one window, in millijoules, and what is needed to judge it.

    `uncertainty_mj` is one standard deviation of `net_mj` (of `gross_mj` where no idle window was given):
    gain, edges of the window, clock, and the drift of the idle power, added in squares.
    """

    gross_mj: float
    net_mj: float | None
    idle_power_w: float | None
    uncertainty_mj: float
    duration_s: float
    samples: int
    sample_rate_hz: float
    refresh_s: float
    source: str
    flags: frozenset[Flag] = frozenset()

    def per_inference(self, inferences: int) -> tuple[float, float | None, float]:
        """Return (gross, net, uncertainty) in millijoules per inference."""
        net = None if self.net_mj is None else self.net_mj / inferences
        return self.gross_mj / inferences, net, self.uncertainty_mj / inferences


def integrate(
    trace: PowerTrace,
    window: Window,
    *,
    idle_before: Window | None = None,
    idle_after: Window | None = None,
    idle_band: IdleBand | None = None,
) -> Energy:
    """Return the energy of `trace` in `window`, or raise EnergyRefusalError.

    All windows are on the trace's clock. With idle windows the net energy is given too; where the net
    comes out below zero it is kept as it is, since a caller must see that the work drowned in the noise.
    """
    _refuse_flags(trace)
    _refuse_slow(trace, window)
    idles = [w for w in (idle_before, idle_after) if w is not None]
    for part in (window, *idles):
        _refuse_uncovered(trace, part)
    gross_mj = _energy_mj(trace, window)
    idle_w = [_energy_mj(trace, w) / 1e3 / w.duration_s for w in idles]
    mean_idle_w = sum(idle_w) / len(idle_w) if idle_w else None
    if mean_idle_w is not None:
        _refuse_idle(trace, mean_idle_w, idle_band or IdleBand())
    drift_w = abs(idle_w[0] - idle_w[1]) / 2 if len(idle_w) == 2 else 0.0
    net_mj = None if mean_idle_w is None else gross_mj - mean_idle_w * 1e3 * window.duration_s
    return Energy(
        gross_mj=gross_mj,
        net_mj=net_mj,
        idle_power_w=mean_idle_w,
        uncertainty_mj=_uncertainty_mj(trace, window, gross_mj if net_mj is None else net_mj, drift_w),
        duration_s=window.duration_s,
        samples=int(_inside(trace.timestamps_s, window).sum()),
        sample_rate_hz=trace.sample_rate_hz,
        refresh_s=trace.refresh_s,
        source=trace.source,
        flags=trace.flags,
    )


def _energy_mj(trace: PowerTrace, window: Window) -> float:
    times, edges = trace.timestamps_s, np.array([window.start_s, window.end_s])
    if trace.energy_mj is not None:
        first, last = np.interp(edges, times, trace.energy_mj)
        return float(last - first)
    assert trace.power_w is not None
    inside = _inside(times, window)
    at_edges = np.interp(edges, times, trace.power_w)
    all_times = np.concatenate(([edges[0]], times[inside], [edges[1]]))
    all_power = np.concatenate(([at_edges[0]], trace.power_w[inside], [at_edges[1]]))
    return float(((all_power[1:] + all_power[:-1]) / 2 * np.diff(all_times)).sum() * 1e3)


def _inside(times: FloatArray, window: Window) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (times > window.start_s) & (times < window.end_s)


def _uncertainty_mj(trace: PowerTrace, window: Window, energy_mj: float, drift_w: float) -> float:
    """Add gain, edge, clock and drift errors in squares.

    The power changes between idle and busy somewhere within a refresh at either edge: a rectangular
    distribution of that width has a standard deviation of width / sqrt(12). The clock's error shifts both
    edges alike, so it matters as far as the power at the two edges differs.
    """
    swing_w = _swing_w(trace, window)
    gain = (trace.gain_error or 0.0) * abs(energy_mj)
    edge = math.sqrt(2) * swing_w * 1e3 * trace.refresh_s / math.sqrt(12)
    clock = swing_w * 1e3 * trace.clock_error_s
    drift = drift_w * 1e3 * window.duration_s
    return math.sqrt(gain**2 + edge**2 + clock**2 + drift**2)


def _swing_w(trace: PowerTrace, window: Window) -> float:
    near = Window(window.start_s - trace.refresh_s, window.end_s + trace.refresh_s, window.clock)
    chosen = _inside(trace.timestamps_s, near)
    if trace.power_w is not None:
        power = trace.power_w[chosen]
    else:
        assert trace.energy_mj is not None
        power = np.diff(trace.energy_mj[chosen]) / np.diff(trace.timestamps_s[chosen]) / 1e3
    return float(power.max() - power.min()) if len(power) else 0.0


def _refuse_flags(trace: PowerTrace) -> None:
    for flag in sorted(trace.flags & REFUSING.keys()):
        reason, hint = REFUSING[flag]
        raise EnergyRefusalError(
            reason, f"the energy cannot be trusted: {flag.value}", where=trace.source, hint=hint
        )


def _refuse_slow(trace: PowerTrace, window: Window) -> None:
    if trace.refresh_s * REFRESHES_PER_WINDOW <= window.duration_s:
        return
    raise EnergyRefusalError(
        RefusalReason.SLOW_REFRESH,
        f"the source refreshes every {trace.refresh_s:.3g} s, the window is {window.duration_s:.3g} s long",
        where=trace.source,
        hint=f"Run for at least {trace.refresh_s * REFRESHES_PER_WINDOW:.3g} s.",
    )


def _refuse_uncovered(trace: PowerTrace, window: Window) -> None:
    if window.clock is not trace.clock:
        raise EnergyRefusalError(
            RefusalReason.CLOCK,
            f"the window is on {window.clock}, the trace on {trace.clock}",
            where=trace.source,
            hint="Convert the window with a ClockMap.",
        )
    times = trace.timestamps_s
    if len(times) >= 2 and times[0] <= window.start_s and times[-1] >= window.end_s:
        gap_s = _largest_gap_s(times, window, edges_only=trace.energy_mj is not None)
        if gap_s <= window.duration_s * LARGEST_GAP:
            return
        what = f"the trace has a hole of {gap_s:.3g} s in a window of {window.duration_s:.3g} s"
    else:
        what = "the trace does not cover the whole window"
    raise EnergyRefusalError(
        RefusalReason.NOT_COVERED, what, where=trace.source, hint="Start earlier, and stop later."
    )


def _largest_gap_s(times: FloatArray, window: Window, *, edges_only: bool) -> float:
    """Return the longest stretch without a reading; a counter misses nothing between its readings."""
    first = int(np.searchsorted(times, window.start_s, side="right")) - 1
    last = int(np.searchsorted(times, window.end_s, side="left"))
    gaps = np.diff(times[first : last + 1])
    return float(max(gaps[0], gaps[-1]) if edges_only else gaps.max())


def _refuse_idle(trace: PowerTrace, idle_w: float, band: IdleBand) -> None:
    if band.low_w <= idle_w <= band.high_w:
        return
    raise EnergyRefusalError(
        RefusalReason.IDLE_OUT_OF_BAND,
        f"the idle power of {idle_w:.3g} W is outside {band.low_w:g} to {band.high_w:g} W",
        where=trace.source,
        hint="Check the unit and the sign of the source, and that nothing else runs.",
    )
