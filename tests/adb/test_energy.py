"""Energy on a real adbd with a real benchmark; the battery gauge and the rails are played.

No machine here has a battery: files below the phone's /sys move while the benchmark runs, with a power that
the test knows.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from perfsage.errors import TransientDeviceError
from perfsage.measurement import Measurement
from perfsage.metrics import Metric
from profilers.adb.profiler import AdbProfiler
from profilers.adb.settings import EnergySettings, RunnerSettings
from profilers.power.energy import IdleBand
from profilers.power.monitor import Clock, MonitorInfo, PowerTrace
from profilers.profiler import Plan
from tests.adb.conftest import quick_settings
from tests.adb.phones import Phone
from tests.profilers.networks import small

IDLE_W, BUSY_W = 0.5, 2.0
BATTERY = "sys/class/power_supply/battery"
ODPM = "sys/bus/iio/devices/iio:device0"
ONCE = Plan(visits=1, timeout_s=60.0)


class Player(threading.Thread):
    """Moves a phone's power files every 20 ms: idle, and busy from the moment the benchmark appears."""

    def __init__(self, phone: Phone, write: Callable[[Phone, float, int], None]) -> None:
        super().__init__(daemon=True)
        self._phone, self._write, self._stopping = phone, write, threading.Event()

    def run(self) -> None:
        busy = False
        for count in itertools.count():
            if count % 5 == 0:
                busy = self._is_busy()
            self._write(self._phone, BUSY_W if busy else IDLE_W, count)
            if self._stopping.wait(0.02):
                return

    def _is_busy(self) -> bool:
        """The loop that reads the power is one job; the benchmark is the other."""
        jobs = (self._phone.home / "data/local/tmp/perfsage/jobs").glob("*/child")
        return sum(1 for _ in jobs) > 1

    def __enter__(self) -> Player:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self.join()


def play_battery(phone: Phone, power_w: float, count: int, *, scale: float = 1e6, sign: int = -1) -> None:
    """A gauge with 4 V whose current trembles a little, as real ones do."""
    # At random: a regular tremble can keep step with the reading, and then looks like none.
    tremble = 1.0 + (0.001 if scale > 1e4 else 0.01) * random.Random(count).uniform(-1.0, 1.0)
    phone.write(f"{BATTERY}/current_now", f"{sign * round(power_w / 4.0 * tremble * scale)}\n")


@pytest.fixture
def battery(phone: Phone) -> Phone:
    for name, text in {"type": "Battery", "voltage_now": "4000000", "status": "Discharging"}.items():
        phone.write(f"{BATTERY}/{name}", text + "\n")
    phone.write("sys/class/power_supply/usb/online", "0\n")
    play_battery(phone, IDLE_W, 0)
    return phone


@pytest.fixture
def measure(key_path: Path) -> Iterator[Callable[..., tuple[Measurement, ...]]]:
    opened: list[AdbProfiler] = []

    def run(
        phone: Phone,
        monitor: str,
        window_s: float = 2.0,
        idle_s: float = 1.0,
        band: IdleBand | None = None,
        **options: object,
    ) -> tuple[Measurement, ...]:
        settings = quick_settings(
            phone,
            key_path,
            runner=RunnerSettings(runs=5, min_s=0.05, warmup_min_s=0.5),
            energy=EnergySettings(
                window_s=window_s, idle_s=idle_s, settle_s=0.4, idle_band=band or IdleBand(0.1, 3.0)
            ),
        )
        opened.append(AdbProfiler(settings, monitor=monitor, monitor_options={"interval_s": 0.03, **options}))
        # Where other programs keep this machine busy, the loop that reads may be starved for so long that
        # the figure is refused, and rightly so: then it is measured again.
        for _ in range(4):
            (outcome,) = opened[-1].profile([small()], ONCE)
            assert outcome.failure is None
            energies = tuple(m for m in outcome.measurements if m.metric is Metric.ENERGY_MJ)
            if "has a hole" not in (energies[0].unavailable or ""):
                break
        return energies

    yield run
    for profiler in opened:
        profiler.close()


Measure = Callable[..., tuple[Measurement, ...]]


def figures(measured: tuple[Measurement, ...]) -> tuple[Measurement, Measurement]:
    assert len(measured) == 2, measured[0].unavailable
    return measured[0], measured[1]


def known_mj(measurement: Measurement, power_w: float) -> float:
    """The energy of one inference if the power was constant: nothing else is known about the run."""
    conditions = measurement.conditions
    return power_w * 1e3 * float(conditions["energy_window_s"]) / int(conditions["energy_inferences"])


@pytest.mark.parametrize(("scale", "sign"), [(1e6, -1), pytest.param(1e3, 1, marks=pytest.mark.slow)])
def test_energy_of_a_known_power_is_within_one_percent(
    battery: Phone, measure: Measure, scale: float, sign: int
) -> None:
    """In microamperes with either sign, and in milliamperes, without telling which."""
    with Player(battery, lambda p, w, n: play_battery(p, w, n, scale=scale, sign=sign)):
        net, gross = figures(measure(battery, "battery", window_s=3.0, idle_s=2.0))
    tolerance = 0.01 if scale == 1e6 else 0.012  # a quarter of an ampere in whole milliamperes
    assert (net.definition, gross.definition) == ("net_of_idle", "gross")
    assert gross.value == pytest.approx(known_mj(gross, BUSY_W), rel=tolerance)
    assert net.value == pytest.approx(known_mj(net, BUSY_W - IDLE_W), rel=tolerance)
    assert net.conditions["idle_power_w"] == pytest.approx(IDLE_W, rel=tolerance)
    assert float(net.conditions["energy_uncertainty_mj"]) < 0.1 * (net.value or 0)
    assert 0.02 < float(net.conditions["energy_refresh_s"]) < 0.2


def play_rails(phone: Phone, power_w: float, count: int, state: dict[str, float]) -> None:
    """Two rails that share the power 3 : 1, in microwattseconds, stamped by the chip."""
    now_s = float(Path("/proc/uptime").read_text().split()[0])
    passed_s = now_s - state.setdefault("at_s", now_s)
    state["at_s"], state["uws"] = now_s, state.get("uws", 0.0) + power_w * passed_s * 1e6
    lines = [f"t={round(now_s * 1e3)}"]
    for channel, (rail, share) in enumerate({"S2M_VDD_CPUCL2": 0.75, "S10M_VDD_TPU": 0.25}.items()):
        lines.append(f"CH{channel}(T={round(now_s * 1e3)})[{rail}], {round(state['uws'] * share)}")
    phone.write(f"{ODPM}/energy_value", "\n".join(lines) + "\n")


def test_rails_are_read_by_their_own_clock(phone: Phone, measure: Measure) -> None:
    state: dict[str, float] = {}
    play_rails(phone, IDLE_W, 0, state)
    phone.write(f"{ODPM}/enabled_rails", "CH0[S2M_VDD_CPUCL2]:CPU(BIG)\nCH1[S10M_VDD_TPU]:TPU\n")
    with Player(phone, lambda p, w, n: play_rails(p, w, n, state)):
        net, gross = figures(measure(phone, "odpm", window_s=4.0, rails=("CPU(BIG)",)))
    assert gross.value == pytest.approx(known_mj(gross, 0.75 * BUSY_W), rel=0.01)
    assert net.value == pytest.approx(known_mj(net, 0.75 * (BUSY_W - IDLE_W)), rel=0.015)
    assert gross.conditions["energy_flags"] == "partial_rails"


def refusal(measured: tuple[Measurement, ...]) -> str:
    (only,) = measured
    assert only.unavailable is not None
    return only.unavailable


def test_a_plugged_in_phone_is_refused(battery: Phone, measure: Measure) -> None:
    battery.write("sys/class/power_supply/usb/online", "1\n")
    with Player(battery, play_battery):
        assert refusal(measure(battery, "battery", window_s=1.0)).startswith("plugged_in")


class PlayedSwitch:
    """A USB port whose power the phone notices: no switchable hub is at hand."""

    def __init__(self, phone: Phone) -> None:
        self.phone, self.log = phone, ""

    def on(self) -> None:
        self._set("1")

    def off(self) -> None:
        self._set("0")

    def _set(self, state: str) -> None:
        self.log += state
        self.phone.write("sys/class/power_supply/usb/online", state + "\n")


def test_a_phone_at_a_charger_is_measured_without_it(battery: Phone, key_path: Path) -> None:
    """Its port is switched on at first, for a killed host may have left it off, and at last."""
    switch = PlayedSwitch(battery)
    settings = quick_settings(
        battery, key_path, energy=EnergySettings(window_s=1.0, idle_s=0.6, settle_s=0.2)
    )
    profiler = AdbProfiler(settings, monitor="battery", switch=switch, monitor_options={"interval_s": 0.02})
    with Player(battery, play_battery):
        (outcome,) = profiler.profile([small()], ONCE)
    profiler.close()
    energies = [m for m in outcome.measurements if m.metric is Metric.ENERGY_MJ]
    assert switch.log == "101"
    assert all("plugged_in" not in (m.unavailable or "") for m in energies)


class FlakyMonitor:
    """An instrument of the host that shows 1 W, and loses its cable in the first recording."""

    def __init__(self) -> None:
        self.begun_s, self.failures = 0.0, 1

    def describe(self) -> MonitorInfo:
        return MonitorInfo(name="flaky", kind="hwmon", measures="a test", clock=Clock.HOST)

    def start(self) -> None:
        self.begun_s = time.monotonic()

    def stop(self) -> PowerTrace:
        if self.failures:
            self.failures -= 1
            raise TransientDeviceError("the instrument stopped answering")
        times = np.arange(self.begun_s, time.monotonic() + 0.01, 0.01)
        return PowerTrace(
            source="flaky",
            clock=Clock.HOST,
            timestamps_s=times,
            power_w=np.ones_like(times),
            refresh_s=0.01,
        )

    def close(self) -> None:
        pass


def test_an_instrument_that_went_away_is_tried_again(phone: Phone, key_path: Path) -> None:
    settings = quick_settings(phone, key_path, energy=EnergySettings(window_s=0.5, idle_s=0.5, settle_s=0.2))
    profiler = AdbProfiler(settings, monitor=FlakyMonitor())
    (outcome,) = profiler.profile([small()], ONCE)
    profiler.close()
    gross = [m for m in outcome.measurements if m.definition == "gross"]
    assert len(gross) == 1 and gross[0].value == pytest.approx(known_mj(gross[0], 1.0))
    assert len([m for m in outcome.measurements if m.definition == "inference_mean"]) == 1, "nothing twice"


def test_an_idle_phone_that_draws_ten_watts_is_refused(battery: Phone, key_path: Path) -> None:
    """Without a band in the inventory, what no idle phone draws is refused all the same."""
    settings = quick_settings(
        battery, key_path, energy=EnergySettings(window_s=1.0, idle_s=0.6, settle_s=0.2)
    )
    profiler = AdbProfiler(settings, monitor="battery", monitor_options={"interval_s": 0.03})
    with Player(battery, lambda p, w, n: play_battery(p, 10.0, n)):
        (outcome,) = profiler.profile([small()], ONCE)
    profiler.close()
    energies = tuple(m for m in outcome.measurements if m.metric is Metric.ENERGY_MJ)
    assert refusal(energies).startswith(("idle_out_of_band", "not_covered"))


def test_a_phone_without_a_gauge_says_so(phone: Phone, measure: Measure) -> None:
    assert "does not let the shell read its battery gauge" in refusal(measure(phone, "battery"))


def test_the_phones_own_clock_may_jump(battery: Phone, measure: Measure) -> None:
    """The phone's uptime is set back while it measures, as no kernel should."""
    begin = time.monotonic()
    battery.write("uptime", "5000.00 1.00\n")
    battery.restart()

    def tick() -> None:
        with (battery.home / "uptime").open("r+b", buffering=0) as file:
            while not stop.wait(0.02):
                passed_s = time.monotonic() - begin
                jumped_s = 5000.0 + passed_s - (100.0 if passed_s > 7.0 else 0.0)
                os.pwrite(file.fileno(), b"%.2f 1.00\n" % jumped_s, 0)

    stop = threading.Event()
    ticker = threading.Thread(target=tick)
    ticker.start()
    with Player(battery, play_battery):
        reason = refusal(measure(battery, "battery", window_s=5.0))
    stop.set()
    ticker.join()
    assert reason, "no figure rather than a wrong one"
