"""Integration of power over a window, against closed forms, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsage.errors import InvalidInputError
from profilers.power.energy import EnergyRefusalError, IdleBand, RefusalReason, integrate
from profilers.power.monitor import Clock, ClockMap, Flag, PowerTrace, Window


def trace(
    power: np.ndarray | None = None,
    *,
    energy: np.ndarray | None = None,
    rate_hz: float = 100.0,
    **changes: object,
) -> PowerTrace:
    values = power if power is not None else energy
    assert values is not None
    arguments: dict[str, object] = {
        "source": "test",
        "clock": Clock.DEVICE,
        "timestamps_s": np.arange(len(values)) / rate_hz,
        "power_w": power,
        "energy_mj": energy,
        "refresh_s": 1 / rate_hz,
    }
    return PowerTrace(**(arguments | changes))  # type: ignore[arg-type]


def window(start_s: float, end_s: float) -> Window:
    return Window(start_s, end_s, Clock.DEVICE)


def test_a_sine_is_integrated_exactly_enough() -> None:
    times = np.arange(2001) / 100
    found = integrate(trace(2.0 + np.sin(times)), window(1.234, 17.89))
    exact_mj = (2.0 * (17.89 - 1.234) - math.cos(17.89) + math.cos(1.234)) * 1e3
    assert found.gross_mj == pytest.approx(exact_mj, rel=1e-4)
    assert found.net_mj is None and found.samples == 1665


@given(
    start=st.floats(0.5, 5.0),
    length=st.floats(1.0, 4.0),
    low=st.floats(0.1, 2.0),
    slope=st.floats(-0.01, 0.5),
)
def test_power_and_counter_agree_on_a_ramp(start: float, length: float, low: float, slope: float) -> None:
    times = np.arange(1001) / 100
    power = low + slope * times
    energy = (low * times + slope * times**2 / 2) * 1e3
    work = window(start, start + length)
    first, last = work.start_s, work.end_s
    exact_mj = (low * (last - first) + slope * (last**2 - first**2) / 2) * 1e3
    assert integrate(trace(power), work).gross_mj == pytest.approx(exact_mj, rel=1e-9)
    assert integrate(trace(energy=energy), work).gross_mj == pytest.approx(exact_mj, rel=1e-4)


def test_idle_power_is_taken_off_and_its_drift_is_uncertainty() -> None:
    power = np.full(1500, 3.0)
    power[:500], power[1000:] = 0.4, 0.6
    found = integrate(
        trace(power), window(5.5, 9.5), idle_before=window(0.5, 4.5), idle_after=window(10.5, 14.5)
    )
    assert found.idle_power_w == pytest.approx(0.5)
    assert found.gross_mj == pytest.approx(12_000) and found.net_mj == pytest.approx(10_000)
    assert found.uncertainty_mj == pytest.approx(400.0)
    assert found.per_inference(100) == pytest.approx((120.0, 100.0, 4.0))


def test_gain_and_clock_are_uncertainty() -> None:
    power = np.full(1000, 1.0)
    steady = integrate(trace(power, gain_error=0.02), window(2, 8))
    assert steady.uncertainty_mj == pytest.approx(120.0)
    power[:200] = power[800:] = 0.0
    edges = integrate(trace(power, clock_error_s=0.1), window(2, 8))
    assert edges.uncertainty_mj == pytest.approx(100.0, rel=0.01)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        (Flag.PLUGGED_IN, RefusalReason.PLUGGED_IN),
        (Flag.STALE, RefusalReason.STALE),
        (Flag.UNKNOWN_SIGN, RefusalReason.UNKNOWN_SIGN),
        (Flag.UNKNOWN_UNIT, RefusalReason.UNKNOWN_UNIT),
        (Flag.DROPPED_SAMPLES, RefusalReason.DROPPED_SAMPLES),
        (Flag.OVERRANGE, RefusalReason.OVERRANGE),
        (Flag.CLOCK_JUMPED, RefusalReason.CLOCK),
    ],
)
def test_flags_refuse(flag: Flag, reason: RefusalReason) -> None:
    with pytest.raises(EnergyRefusalError) as caught:
        integrate(trace(np.ones(1000)).flagged(flag), window(1, 9))
    assert caught.value.reason is reason and caught.value.hint


def test_other_flags_are_kept() -> None:
    found = integrate(trace(np.ones(1000)).flagged(Flag.PARTIAL_RAILS, Flag.ASSUMED_VOLTAGE), window(1, 9))
    assert found.flags == {Flag.PARTIAL_RAILS, Flag.ASSUMED_VOLTAGE}


def refused(power_trace: PowerTrace, work: Window, **options: object) -> RefusalReason:
    with pytest.raises(EnergyRefusalError) as caught:
        integrate(power_trace, work, **options)  # type: ignore[arg-type]
    return caught.value.reason


def test_a_refresh_slower_than_a_twentieth_of_the_window_is_refused() -> None:
    assert refused(trace(np.ones(1000), refresh_s=0.41), window(1, 9)) is RefusalReason.SLOW_REFRESH
    assert integrate(trace(np.ones(1000), refresh_s=0.39), window(1, 9)).gross_mj == pytest.approx(8000)


def test_what_the_trace_does_not_cover_is_refused() -> None:
    steady = trace(np.ones(1000))
    for work in (window(-1, 5), window(5, 11)):
        assert refused(steady, work) is RefusalReason.NOT_COVERED
    assert refused(steady, window(1, 5), idle_after=window(9, 10.5)) is RefusalReason.NOT_COVERED
    times = np.concatenate((np.arange(0, 4, 0.01), np.arange(5, 10, 0.01)))
    holed = trace(np.ones(len(times)), timestamps_s=times)
    assert refused(holed, window(1, 9)) is RefusalReason.NOT_COVERED
    counter = trace(energy=times * 1e3, timestamps_s=times)
    assert integrate(counter, window(1, 9)).gross_mj == pytest.approx(8000), "a counter misses nothing"


def test_windows_on_another_clock_are_refused() -> None:
    assert refused(trace(np.ones(1000)), Window(1, 9)) is RefusalReason.CLOCK


def test_an_idle_power_out_of_its_band_is_refused() -> None:
    band = IdleBand(0.1, 0.9)
    reason = refused(trace(np.ones(1000)), window(4, 6), idle_before=window(1, 3), idle_band=band)
    assert reason is RefusalReason.IDLE_OUT_OF_BAND


def test_clock_maps_lead_there_and_back() -> None:
    clock = ClockMap(offset_s=100.0, error_s=0.01)
    there = clock.to_host(window(1, 2))
    assert (there.start_s, there.clock) == (101.0, Clock.HOST)
    assert clock.to_device(there) == window(1, 2) and clock.to_host(there) is there


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamps_s": np.zeros(10)},
        {"timestamps_s": np.arange(9.0)},
        {"power_w": np.full(10, np.nan)},
        {"power_w": None, "energy_mj": np.arange(10.0)[::-1]},
        {"energy_mj": np.arange(10.0)},
        {"power_w": None},
    ],
)
def test_a_trace_that_makes_no_sense_is_not_made(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        trace(np.ones(10), **changes)


def test_a_window_has_a_length() -> None:
    with pytest.raises(InvalidInputError):
        Window(2.0, 2.0)
