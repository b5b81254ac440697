"""Instruments of the host: sensors as files that move, a Monsoon below its own package, and USB switches."""

from __future__ import annotations

import struct
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from perfsage.errors import InvalidInputError, MissingExtraError, StableDeviceError
from profilers.power.carbon import GridIntensity, carbon_mg
from profilers.power.energy import integrate
from profilers.power.hwmon import Hwmon, find_chips
from profilers.power.instruments import open_instrument
from profilers.power.monitor import Flag, PowerMonitor, Window
from profilers.power.scenario import scenario_energy
from profilers.power.usb import Uhubctl, make_switch


def write(path: Path, text: str) -> None:
    part = path.with_suffix(".new")
    part.write_text(text)
    part.replace(path)


def test_a_sensor_of_the_host_is_integrated(tmp_path: Path) -> None:
    """Files in place of an INA226: 1.5 W that tremble, in microwatts."""
    folder = tmp_path / "hwmon3"
    folder.mkdir()
    (folder / "name").write_text("ina226\n")
    write(folder / "power1_input", "1500000\n")
    assert find_chips(tmp_path) == {"ina226:hwmon3": folder}
    stop = threading.Event()

    def move() -> None:
        count = 0
        while not stop.wait(0.005):
            count += 1
            write(folder / "power1_input", f"{1_500_000 + (1000 if count % 2 else -1000)}\n")

    mover = threading.Thread(target=move)
    mover.start()
    monitor = open_instrument("hwmon", {"path": str(folder)})
    assert isinstance(monitor, PowerMonitor) and monitor.describe().kind == "hwmon"
    monitor.start()
    time.sleep(0.3)
    begin = time.monotonic()
    time.sleep(2.5)
    end = time.monotonic()
    time.sleep(0.3)
    trace = monitor.stop()
    stop.set()
    mover.join()
    assert integrate(trace, Window(begin, end)).gross_mj == pytest.approx(1500 * (end - begin), rel=0.01)


def test_a_sensor_of_current_and_voltage(tmp_path: Path) -> None:
    (tmp_path / "curr1_input").write_text("200\n")
    (tmp_path / "in1_input").write_text("5000\n")
    assert Hwmon(path=tmp_path)._read_w() == 1.0


def test_a_sensor_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StableDeviceError, match="cannot be read"):
        Hwmon(path=tmp_path / "nowhere").start()
    assert find_chips(tmp_path / "nowhere") == {}


class PlayedMonsoon:
    """A Monsoon's USB messages, played: 64-byte packets as its firmware sends them. There is none to try."""

    CURRENT_MA, VOLTS = 400.0, 4.0

    def __init__(self) -> None:
        self.DEVICE, self.count, self.set_values = None, 0, []

    def Connect(self, *_: Any) -> None:
        pass

    def getValue(self, operation: int, *_: Any) -> int:
        from Monsoon.Operations import OpCodes

        # The package refuses a monitor whose converter is not calibrated within these.
        return {OpCodes.dacCalHigh: 0xC800, OpCodes.dacCalLow: 0xE000}.get(operation, 1000)

    def sendCommand(self, operation: int, value: float) -> None:
        self.set_values.append((operation, value))

    def startSampling(self, *_: Any) -> None:
        pass

    def stopSampling(self) -> None:
        pass

    def closeDevice(self) -> None:
        pass

    def BulkRead(self) -> array[int]:
        """Three observations: calibrations at first, then measurements of 400 mA at 4 V."""
        time.sleep(0.0006)
        self.count += 1
        kind = {0: 0x10, 1: 0x30}.get(self.count % 2, 0) if self.count < 40 else 0x00
        # Coarse and fine: zero reads 1000, the reference (scale 1000) reads 11000.
        raw = {0x10: 1000, 0x30: 11000}.get(kind, 1000 + 4000)
        volts = round(self.VOLTS / (62.5e-6 * 4))
        words = [raw, 64000 if kind == 0 else raw, raw, raw, raw, raw, volts, volts]
        observation = struct.pack(">8H", *words) + bytes([0, kind])
        packet = struct.pack("<HBB", 0, 0, 3) + 3 * observation
        return array("B", packet + bytes(64 - len(packet)))


def test_missing_packages_and_kinds_are_named() -> None:
    with pytest.raises(InvalidInputError, match="no power monitor of kind 'ammeter'"):
        open_instrument("ammeter", {})
    with pytest.raises(InvalidInputError, match="do not fit"):
        open_instrument("hwmon", {"colour": "red"})
    with pytest.raises(StableDeviceError, match="outside the Monsoon's"):
        open_instrument("monsoon", {"voltage_v": 230.0})


def test_usb_switches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script in uhubctl's place, since the machine has no such hub."""
    log = tmp_path / "log"
    program = tmp_path / "uhubctl"
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n[ "$4" = 2 ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    switch = make_switch("uhubctl", location="1-1.4", port=2)
    switch.off()
    switch.on()
    assert log.read_text() == "-l 1-1.4 -p 2 -a off\n-l 1-1.4 -p 2 -a on\n"
    with pytest.raises(StableDeviceError, match="could not switch the port off"):
        Uhubctl("1-1", 9).off()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StableDeviceError, match="not installed"):
        switch.off()
    with pytest.raises((StableDeviceError, MissingExtraError), match=r"YKUSH|pykush"):
        make_switch("ykush", port=1, serial="YK00000").off()
    with pytest.raises(InvalidInputError, match="no USB switch"):
        make_switch("hammer")


def test_scenarios() -> None:
    found = scenario_energy(
        net_mj_per_inference=20.0,
        latency_ms=25.0,
        idle_power_w=0.5,
        inferences_per_s=30.0,
        minutes=2.0,
        battery_wh=15.0,
    )
    assert (found.inferences, found.net_mj, found.total_mj) == (3600, 72_000.0, 132_000.0)
    assert found.busy_share == 0.75 and found.battery_share == pytest.approx(132 / 54_000)
    with pytest.raises(InvalidInputError, match="50 a second are not possible"):
        scenario_energy(
            net_mj_per_inference=1.0, latency_ms=25.0, idle_power_w=0.5, inferences_per_s=50.0, minutes=1.0
        )


def test_carbon_needs_a_cited_figure() -> None:
    assert carbon_mg(3.6e6, GridIntensity(350.0, "national statistics, 2025")) == pytest.approx(350.0)
    for wrong in ((-1.0, "x"), (5000.0, "x"), (300.0, " ")):
        with pytest.raises(InvalidInputError):
            GridIntensity(*wrong)


def test_a_monsoon_is_sampled() -> None:
    pytest.importorskip("Monsoon")
    from profilers.power.monsoon import Monsoon

    monitor = Monsoon(voltage_v=4.0, protocol=PlayedMonsoon())
    monitor.start()
    time.sleep(1.0)
    trace = monitor.stop()
    monitor.close()
    assert trace.power_w is not None and Flag.DROPPED_SAMPLES not in trace.flags
    assert 0.1 < float(trace.power_w.mean()) < 10.0


def test_a_monsoon_that_is_not_there_is_told_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("Monsoon")
    from profilers.power.monsoon import Monsoon

    with pytest.raises(StableDeviceError, match=r"cannot be reached: .*(find|usb|backend|device)"):
        Monsoon(voltage_v=4.0).start()
    assert capfd.readouterr().out == ""
