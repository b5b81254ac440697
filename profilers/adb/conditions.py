"""The state a phone is in while it measures: heat, charging, screen, radio."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from perfsage.errors import TransientDeviceError
from profilers.adb.transport import Adb

THERMAL_NAMES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
ABSENT_SENSOR_C = -99.0
"""Sensors that are not there report -99.9."""

_STATUS = re.compile(r"Thermal Status: (\d)")
_TEMPERATURE = re.compile(r"Temperature\{mValue=([-0-9.]+),.*?mName=([^,}]+)")
_POWERED = re.compile(r"^\s*(AC|USB|Wireless|Dock) powered: true", re.MULTILINE)
_BATTERY_STATUS = re.compile(r"^\s*status: (\d)", re.MULTILINE)
_LEVEL = re.compile(r"^\s*level: (\d+)", re.MULTILINE)
_CHARGING = {"2": "charging", "3": "discharging", "4": "not_charging", "5": "full"}

_ASK = """echo @thermal; dumpsys thermalservice 2>/dev/null
echo @zones; for z in /sys/class/thermal/thermal_zone*; do [ -r $z/temp ] && \
echo "$(cat $z/type) $(cat $z/temp 2>/dev/null)"; done
echo @battery; dumpsys battery 2>/dev/null
echo @supply; cat /sys/class/power_supply/*/online /sys/class/power_supply/*/status 2>/dev/null
echo @screen; dumpsys power 2>/dev/null | grep -m1 mWakefulness=
echo @airplane; settings get global airplane_mode_on 2>/dev/null
echo @clocks; cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq 2>/dev/null; true"""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A phone's state at one moment; None where it does not say."""

    thermal_status: int | None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    powered: bool | None = None
    charging: str | None = None
    battery_percent: int | None = None
    screen: str | None = None
    airplane_mode: bool | None = None
    allowed_khz: tuple[int, ...] = ()

    @property
    def hottest_c(self) -> float | None:
        """The highest temperature of any sensor."""
        return max(self.temperatures_c.values(), default=None)

    def throttled_since(self, before: State) -> bool:
        """Say whether the phone began to throttle: its thermal status rose, or its clocks were capped."""
        rose = (self.thermal_status or 0) > (before.thermal_status or 0)
        capped = any(now < then for now, then in zip(self.allowed_khz, before.allowed_khz, strict=False))
        return rose or capped

    def conditions(self, prefix: str) -> dict[str, str | int | float | bool]:
        """Return what belongs beside a measurement, such as `thermal_status_before`."""
        found = {
            "thermal_status": None if self.thermal_status is None else thermal_name(self.thermal_status),
            "temperature_c": self.hottest_c,
        }
        return {f"{name}_{prefix}": value for name, value in found.items() if value is not None}

    def surroundings(self) -> dict[str, str | int | float | bool]:
        """Return what does not change within a run."""
        found = {
            "powered": self.powered,
            "charging": self.charging,
            "battery_percent": self.battery_percent,
            "screen": self.screen,
            "airplane_mode": self.airplane_mode,
        }
        return {name: value for name, value in found.items() if value is not None}


def thermal_name(status: int) -> str:
    """Return Android's word for a thermal status (PowerManager.THERMAL_STATUS_*)."""
    return THERMAL_NAMES[status] if 0 <= status < len(THERMAL_NAMES) else str(status)


def read_state(adb: Adb) -> State:
    """Ask the phone for its state, in one command."""
    return parse_state(adb.run(_ASK).text)


def parse_state(text: str) -> State:
    """Read the answer of the phone: sections that begin with `@name`."""
    sections = dict.fromkeys(("thermal", "zones", "battery", "supply", "screen", "airplane", "clocks"), "")
    for part in re.split(r"^@", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        sections[name] = body
    status = _STATUS.search(sections["thermal"])
    level = _LEVEL.search(sections["battery"])
    airplane = sections["airplane"].strip()
    return State(
        thermal_status=int(status[1]) if status else None,
        temperatures_c=_hal_temperatures(sections["thermal"]) or _zone_temperatures(sections["zones"]),
        powered=_powered(sections["battery"], sections["supply"]),
        charging=_charging(sections["battery"], sections["supply"]),
        battery_percent=int(level[1]) if level else None,
        screen=sections["screen"].strip().partition("=")[2].lower() or None,
        airplane_mode=airplane == "1" if airplane in ("0", "1") else None,
        allowed_khz=tuple(int(word) for word in sections["clocks"].split() if word.isdigit()),
    )


def _hal_temperatures(dump: str) -> dict[str, float]:
    """Read the current temperatures; the cached ones above them may be hours old."""
    _, mark, current = dump.partition("Current temperatures from HAL:")
    current = current.partition("Current cooling devices")[0] if mark else ""
    found = {name: float(value) for value, name in _TEMPERATURE.findall(current)}
    return {name: value for name, value in found.items() if value > ABSENT_SENSOR_C}


def _zone_temperatures(lines: str) -> dict[str, float]:
    found = {}
    for line in lines.splitlines():
        name, _, value = line.rpartition(" ")
        if value.lstrip("-").isdigit():
            # Thousandths of a degree nearly everywhere; a few drivers give whole degrees.
            degrees = int(value) / 1000 if abs(int(value)) >= 1000 else float(value)
            found[name] = degrees
    return {name: value for name, value in found.items() if -40.0 < value < 150.0}


def _powered(battery: str, supply: str) -> bool | None:
    if "powered:" in battery:
        return bool(_POWERED.search(battery))
    online = [line for line in supply.split("\n") if line in ("0", "1")]
    return "1" in online if online else None


def _charging(battery: str, supply: str) -> str | None:
    if found := _BATTERY_STATUS.search(battery):
        return _CHARGING.get(found[1], "unknown")
    words = [line for line in supply.splitlines() if line[:1].isalpha()]
    return words[0].lower().replace(" ", "_") if words else None


@dataclass(frozen=True, slots=True)
class Cooling:
    """When a phone is cool enough to measure, and how long to wait for it."""

    max_status: int = 0
    max_temperature_c: float | None = None
    limit_s: float = 600.0
    pause_s: float = 5.0

    def is_met(self, state: State) -> bool:
        """Say whether this state is cool enough; what the phone does not tell does not count."""
        hot = self.max_temperature_c is not None and (state.hottest_c or 0.0) > self.max_temperature_c
        return (state.thermal_status or 0) <= self.max_status and not hot


def wait_until_cool(adb: Adb, cooling: Cooling) -> State:
    """Return the state once the phone is cool; TransientDeviceError when the limit has passed."""
    deadline = time.monotonic() + cooling.limit_s
    while True:
        state = read_state(adb)
        if cooling.is_met(state):
            return state
        if time.monotonic() + cooling.pause_s > deadline:
            raise TransientDeviceError(
                f"the phone did not cool down within {cooling.limit_s:.0f} s",
                where=f"phone {adb.address}: {state.conditions('now')}",
                hint="Give it air, lower the room's temperature, or raise the limits in lab.toml.",
            )
        time.sleep(cooling.pause_s)
