"""Readings of phones, as their makers write them, turned into traces. The readings are composed by hand
from the kernel's and Android's sources; no phone was at hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.adb.jobs import Stamped
from profilers.power.battery import gauge_trace
from profilers.power.energy import integrate
from profilers.power.monitor import Clock, Flag, Window
from profilers.power.odpm import odpm_trace
from profilers.power.powerstats import parse_channels


def readings(
    current: list[int],
    *,
    volts: int = 4_000_000,
    status: str = "Discharging",
    powered: str = "0",
    step_s: float = 0.1,
) -> tuple[Stamped, ...]:
    return tuple(Stamped(100 + i * step_s, f"{c};{volts};{status};{powered}") for i, c in enumerate(current))


def trembling(mean: int, count: int = 50) -> list[int]:
    return [mean + (7 if i % 2 else -7) for i in range(count)]


@pytest.mark.parametrize(
    ("current", "volts", "watts"),
    [
        (-250_000, 4_000_000, 1.0),  # the kernel's documentation: microamperes, negative
        (250_000, 4_000_000, 1.0),
        (250_000, 4000, 1.0),  # dumpsys: millivolts
        (250, 4_000_000, 1.0),  # Samsung: milliamperes
        (-114, 4026, 0.459),  # milliamperes and millivolts
        (900_000, 8_400_000, 7.56),  # two cells in series
    ],
)
def test_units_and_signs_are_found_out(current: int, volts: int, watts: float) -> None:
    trace = gauge_trace(readings(trembling(current), volts=volts), "battery:x")
    assert trace.flags == frozenset()
    assert float(np.mean(trace.power_w)) == pytest.approx(watts, rel=0.01)
    assert trace.refresh_s == pytest.approx(0.1)


def test_what_cannot_be_found_out_is_flagged() -> None:
    assert Flag.UNKNOWN_UNIT in gauge_trace(readings(trembling(9_000_000)), "x").flags
    assert Flag.UNKNOWN_SIGN in gauge_trace(readings([250_000, -250_000] * 9), "x").flags
    told = gauge_trace(readings([250_000, -250_000] * 9), "x", current_unit="uA", sign=-1)
    assert told.flags == frozenset() and told.power_w is not None and told.power_w[0] == -1.0


@pytest.mark.parametrize(
    ("status", "powered"), [("Charging", "0"), ("Full", "0"), ("5", "0"), ("Discharging", "1")]
)
def test_a_charger_is_noticed(status: str, powered: str) -> None:
    trace = gauge_trace(readings(trembling(250_000), status=status, powered=powered), "x")
    assert trace.flags == {Flag.PLUGGED_IN}


def test_the_refresh_rate_is_that_of_the_gauge_and_not_of_reading() -> None:
    slow = [value for value in trembling(250_000, 10) for _ in range(10)]
    trace = gauge_trace(readings(slow), "x")
    assert trace.refresh_s == pytest.approx(1.0) and len(trace.timestamps_s) == 10


@pytest.mark.parametrize("lines", [[], ["garbage"], ["1;2"], ["a;b;c;d"], [";;;"], ["5;5;x;0"] * 9])
def test_readings_that_are_none_or_stand_still_are_refused(lines: list[str]) -> None:
    with pytest.raises(StableDeviceError, match="readings"):
        gauge_trace(tuple(Stamped(float(i), line) for i, line in enumerate(lines)), "x")


def rails(when_ms: int, cpu_uws: int, tpu_uws: int, chip: int = 0) -> list[str]:
    return [
        f"@{chip}",
        f"t={when_ms}",
        f"CH0(T={when_ms})[S2M_VDD_CPUCL2], {cpu_uws}",
        f"CH1(T={when_ms})[S10M_VDD_TPU], {tpu_uws}",
    ]


def stamped(lines: list[str]) -> list[Stamped]:
    return [Stamped(0.0, line) for line in lines]


def test_rails_use_the_chips_time_and_drop_what_is_cached() -> None:
    lines = [line for i in range(100) for line in rails(1000 + i // 4 * 80, i // 4 * 80_000, i // 4 * 8_000)]
    trace = odpm_trace(stamped(lines), None)
    assert trace.refresh_s == pytest.approx(0.08) and len(trace.timestamps_s) == 25
    found = integrate(trace, Window(1.2, 2.9, Clock.DEVICE))
    assert found.gross_mj == pytest.approx(1.7 * 1100)
    cpu = odpm_trace(stamped(lines), frozenset({"S2M_VDD_CPUCL2"}))
    assert integrate(cpu, Window(1.2, 2.9, Clock.DEVICE)).gross_mj == pytest.approx(1.7 * 1000)


def test_two_chips_are_added_at_common_times() -> None:
    lines = []
    for i in range(50):
        lines += rails(1000 + i * 20, i * 20_000, 0, chip=0) + rails(1007 + i * 20, i * 40_000, 0, chip=1)
    trace = odpm_trace(stamped(lines), None)
    assert trace.timestamps_s[0] == pytest.approx(1.007)
    assert integrate(trace, Window(1.2, 1.8, Clock.DEVICE)).gross_mj == pytest.approx(0.6 * 3000)


def test_a_clock_that_stands_still_is_stale() -> None:
    assert Flag.STALE in odpm_trace(stamped(rails(1000, 5, 5) * 40), None).flags


def test_a_counter_that_is_set_back_is_an_error() -> None:
    lines = rails(1000, 500, 0) + rails(1020, 10, 0) + rails(1040, 20, 0)
    with pytest.raises(TransientDeviceError, match="set back"):
        odpm_trace(stamped(lines), None)


@pytest.mark.parametrize("lines", [[], ["@0"], ["@0", "t=5"], ["t=x", "CH0(T=1)[A], 5"]])
def test_no_counters_no_trace(lines: list[str]) -> None:
    with pytest.raises(StableDeviceError, match="no readings"):
        odpm_trace(stamped(lines), None)


def test_channels_of_powerstats() -> None:
    text = (
        "PowerStatsService dumpsys: available Channels\n"
        "  ChannelId: 0, ChannelName: S10M_VDD_TPU, ChannelSubsystem: TPU\n"
        "  ChannelId: 3, ChannelName: S2M_VDD_CPUCL2, ChannelSubsystem: CPU(BIG)\n"
        "PowerStatsService dumpsys: available EnergyConsumers\n"
    )
    channels = parse_channels(text)
    assert [(c.index, c.rail, c.subsystem) for c in channels] == [
        (0, "S10M_VDD_TPU", "TPU"),
        (3, "S2M_VDD_CPUCL2", "CPU(BIG)"),
    ]
    assert parse_channels("Can't find service: powerstats") == ()
    assert all(a.index < b.index for a, b in pairwise(channels))
