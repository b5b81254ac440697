"""A phone's state out of what Android prints. Composed from Android's sources: no phone was at hand."""

from __future__ import annotations

import pytest

from profilers.adb.conditions import Cooling, parse_state, read_state
from profilers.adb.properties import read_properties
from profilers.adb.transport import Adb
from tests.adb.phones import Phone

THERMAL = """IsStatusOverride: false
ThermalEventListeners:
Thermal Status: 2
Cached temperatures:
 Temperature{mValue=91.0, mType=0, mName=CPU, mStatus=0}
HAL Ready: true
HAL connection:
 ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
 Temperature{mValue=41.5, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
 Temperature{mValue=-99.9, mType=4, mName=USB, mStatus=0}
 Temperature{mValue=55.25, mType=0, mName=BIG, mStatus=0}
Current cooling devices from HAL:
 CoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging voltage: 5000000
  status: 2
  health: 2
  present: true
  level: 87
  voltage: 4231
"""
ANDROID = (
    f"@thermal\n{THERMAL}@zones\ncpu 40000\n@battery\n{BATTERY}@supply\n1\nCharging\n"
    "@screen\n  mWakefulness=Asleep\n@airplane\n1\n@clocks\n1803000\n2850000\n"
)


def test_android() -> None:
    state = parse_state(ANDROID)
    assert state.thermal_status == 2
    assert state.temperatures_c == {"VIRTUAL-SKIN": 41.5, "BIG": 55.25}, "no cached and no absent sensors"
    assert (state.powered, state.charging, state.battery_percent) == (True, "charging", 87)
    assert (state.screen, state.airplane_mode, state.allowed_khz) == ("asleep", True, (1803000, 2850000))
    assert state.conditions("before") == {"thermal_status_before": "moderate", "temperature_c_before": 55.25}


def test_a_linux_board_without_android() -> None:
    state = parse_state(
        "@thermal\n@zones\ncpu-thermal 48312\nnvme 39\nbroken -274000\n@supply\n0\nDischarging\n@clocks\n"
    )
    assert state.thermal_status is None and state.temperatures_c == {"cpu-thermal": 48.312, "nvme": 39.0}
    assert (state.powered, state.charging, state.screen) == (False, "discharging", None)
    assert parse_state("") == parse_state("@what\nis this")


def test_throttling_is_a_risen_status_or_a_capped_clock() -> None:
    before = parse_state("@thermal\nThermal Status: 0\n@clocks\n2000000\n2000000\n")
    for text, throttled in (
        ("@thermal\nThermal Status: 1\n@clocks\n2000000\n2000000\n", True),
        ("@thermal\nThermal Status: 0\n@clocks\n2000000\n1500000\n", True),
        ("@thermal\nThermal Status: 0\n@clocks\n2000000\n2000000\n", False),
    ):
        assert parse_state(text).throttled_since(before) is throttled


@pytest.mark.parametrize(("status", "celsius", "cool"), [(0, 30.0, True), (1, 30.0, False), (0, 50.0, False)])
def test_cool_enough(status: int, celsius: float, cool: bool) -> None:
    text = f"@thermal\nThermal Status: {status}\n@zones\ncpu {int(celsius * 1000)}\n"
    assert Cooling(max_temperature_c=45.0).is_met(parse_state(text)) is cool


def test_properties_and_state_of_a_played_phone(phone: Phone, adb: Adb) -> None:
    phone.play("dumpsys", "cat /played/$1 2>/dev/null\n")
    phone.write("played/thermalservice", THERMAL)
    phone.write("played/battery", BATTERY)
    props = "ro.product.model=Pixel 6\nro.soc.manufacturer=Google\nro.soc.model=GS101\n"
    props += "ro.product.cpu.abi=x86_64\n"
    phone.write("played/props", props + "ro.build.version.release=14\nro.build.version.sdk=34\n")
    for core, khz in enumerate((1803000, 1803000, 2850000)):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        phone.write(f"{folder}/cpuinfo_max_freq", f"{khz}\n")
        phone.write(f"{folder}/scaling_max_freq", f"{khz}\n")
        phone.write(f"{folder}/scaling_governor", "sched_pixel\n")
        phone.write(f"{folder}/related_cpus", "0 1\n" if core < 2 else "2\n")
    found = read_properties(adb)
    assert (found.model, found.soc, found.system) == ("Pixel 6", "Google GS101", "Android 14 (API 34)")
    assert found.clusters() == ["2x1803MHz", "1x2850MHz"]
    assert found.conditions()["governor"] == "sched_pixel"
    assert found.cores[0].cluster == "0,1" and found.memory_bytes
    state = read_state(adb)
    assert state.thermal_status == 2 and state.battery_percent == 87
    assert state.allowed_khz == (1803000, 1803000, 2850000)
