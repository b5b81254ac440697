"""A phone's battery gauge, in sysfs or through `dumpsys battery`: the power that leaves the battery.

Unit, sign and refresh rate differ between phones and are found out from the readings. Kernel documentation
asks for microamperes and a negative sign while discharging; Samsung kernels give milliamperes in
`current_now` (and microamperes in `batt_current_ua_now`), and drivers exist with either sign or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from perfsage.errors import StableDeviceError
from profilers.adb.jobs import Jobs, Stamped
from profilers.adb.transport import Adb
from profilers.power.monitor import Clock, Flag, FloatArray, MonitorInfo, PowerTrace
from profilers.power.phone import Recording, median_step_s

PLAUSIBLE_W = (0.03, 25.0)
"""What a phone can draw. Narrower than the factor 1000 between the units, so at most one of them fits."""
CURRENT_UNITS_A = {"uA": 1e-6, "mA": 1e-3}

_LIST = """for d in /sys/class/power_supply/*; do [ "$(cat $d/type 2>/dev/null)" = Battery ] || continue
for f in batt_current_ua_now current_now current_avg; do [ -r $d/$f ] && [ -r $d/voltage_now ] && \
cat $d/$f >/dev/null 2>&1 && echo "$d/$f" && break; done; done; true"""
_NUMBER = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True)
class GaugeSource:
    """Where the gauge is read: a file of sysfs, or `dumpsys` where the files are closed."""

    current_path: str | None

    @property
    def name(self) -> str:
        """What traces call it."""
        return f"battery:{self.current_path or 'dumpsys'}"

    def body(self) -> str:
        """Return the shell text that prints one reading: current, voltage, status, powered."""
        if self.current_path is None:
            return (
                "b=$(dumpsys battery); c=$(cmd battery get -f current_now 2>/dev/null); "
                'v=$(echo "$b" | sed -n "s/^ *voltage: //p"); s=$(echo "$b" | sed -n "s/^ *status: //p"); '
                'o=$(echo "$b" | grep -c "powered: true"); echo "$c;$v;$s;$o"'
            )
        folder = self.current_path.rpartition("/")[0]
        # `read` is part of the shell: one process less per reading than `cat`.
        return (
            f"read -r c <{self.current_path}; read -r v <{folder}/voltage_now; s=; "
            f"read -r s <{folder}/status; "
            "o=0; for f in /sys/class/power_supply/*/online; do p=0; read -r p 2>/dev/null <$f "
            '&& [ "$p" != 0 ] && o=1; done; echo "$c;$v;$s;$o"'
        )


def find_gauges(adb: Adb) -> list[GaugeSource]:
    """Return the gauges that this phone lets the shell read, sysfs first."""
    found = [GaugeSource(line) for line in adb.run(_LIST).text.split()]
    asked = adb.run("cmd battery get -f current_now", check=False)
    if asked.code == 0 and _NUMBER.fullmatch(asked.text.strip()):
        found.append(GaugeSource(None))
    return found


class BatteryGauge:
    """A PowerMonitor over a phone's own gauge.

    `current_unit` (`uA` or `mA`) and `sign` (+1: discharging is positive, -1: negative) end the guessing
    where the phone's readings leave doubt.
    """

    def __init__(
        self,
        adb: Adb,
        jobs: Jobs,
        *,
        source: GaugeSource | None = None,
        interval_s: float = 0.1,
        current_unit: str | None = None,
        sign: int | None = None,
    ) -> None:
        self._recording = Recording(adb, jobs)
        self._source = source
        self._interval_s = interval_s
        self._unit = current_unit
        self._sign = sign

    def describe(self) -> MonitorInfo:
        """Say what is measured; the gauge's error is not known to anybody."""
        return MonitorInfo(
            name="battery",
            kind="battery",
            measures="battery output: the whole phone",
            clock=Clock.DEVICE,
            max_rate_hz=1.0 / self._interval_s,
            tool="dumpsys" if self._source and self._source.current_path is None else "sysfs",
        )

    def start(self) -> None:
        """Begin to read the gauge."""
        self._source = self._source or self._find()
        self._recording.start(self._source.body(), self._interval_s)

    def stop(self) -> PowerTrace:
        """Return the trace, with everything that speaks against it flagged."""
        lines = self._recording.stop().lines
        assert self._source is not None
        return gauge_trace(lines, self._source.name, current_unit=self._unit, sign=self._sign)

    def close(self) -> None:
        """Stop reading."""
        self._recording.close()

    def _find(self) -> GaugeSource:
        found = find_gauges(self._recording.adb)
        if not found:
            raise StableDeviceError(
                "this phone does not let the shell read its battery gauge",
                where=f"phone {self._recording.adb.address}",
                hint="Use an external monitor, or the phone's power rails.",
            )
        return found[0]


def gauge_trace(
    lines: tuple[Stamped, ...], source: str, *, current_unit: str | None = None, sign: int | None = None
) -> PowerTrace:
    """Turn readings (`current;voltage;status;powered`) into power, watts, at the phone's uptimes.

    Readings that merely repeat the last ones are dropped: what is left shows the gauge's refresh rate.
    """
    readings = [(line.uptime_s, *fields) for line in lines if (fields := _fields(line.text))]
    times = np.array([r[0] for r in readings], dtype=np.float64)
    raw_current = np.array([r[1] for r in readings], dtype=np.float64)
    volts = np.array([_volts(r[2]) for r in readings], dtype=np.float64)
    flags = {Flag.PLUGGED_IN} if any(r[3] for r in readings) else set()
    fresh = _fresh(times, raw_current, volts)
    if fresh.sum() < 3:
        raise StableDeviceError(
            f"{source} gave {len(readings)} readings, {int(fresh.sum())} of them different",
            where=source,
            hint="The gauge is fixed or hardly refreshes; use another source or a longer window.",
        )
    power_w, doubts = _power_w(raw_current[fresh], volts[fresh], current_unit, sign)
    return PowerTrace(
        source=source,
        clock=Clock.DEVICE,
        timestamps_s=times[fresh],
        power_w=power_w,
        refresh_s=median_step_s(times[fresh]),
        clock_error_s=0.01,  # /proc/uptime counts hundredths of a second
        flags=frozenset(flags | doubts),
    )


def _fields(text: str) -> tuple[float, float, bool] | None:
    parts = text.split(";")
    if len(parts) != 4 or not _NUMBER.fullmatch(parts[0].strip()) or not _NUMBER.fullmatch(parts[1].strip()):
        return None
    status = parts[2].strip().lower()
    # BatteryManager's numbers: 2 charging, 5 full.
    plugged = status in ("charging", "full", "2", "5") or parts[3].strip() not in ("", "0")
    return float(parts[0]), float(parts[1]), plugged


def _volts(raw: float) -> float:
    """A battery has 2 to 60 V: microvolts and millivolts cannot be confused."""
    return raw / 1e6 if raw >= 1e5 else raw / 1e3


def _fresh(
    times: FloatArray, current: FloatArray, volts: FloatArray
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Mark readings that differ from the one before and came later; the last one closes the trace."""
    if len(times) == 0:
        return np.zeros(0, dtype=np.bool_)
    changed = (np.diff(current) != 0) | (np.diff(volts) != 0)
    later = np.diff(times) > 0
    return np.concatenate(([True], changed & later))


def _power_w(
    raw: FloatArray, volts: FloatArray, unit: str | None, sign: int | None
) -> tuple[FloatArray, set[Flag]]:
    doubts: set[Flag] = set()
    scale = CURRENT_UNITS_A[unit] if unit else _guess_scale(raw, volts)
    if scale is None:
        doubts.add(Flag.UNKNOWN_UNIT)
        scale = CURRENT_UNITS_A["uA"]
    if sign is None:
        # Off the charger a battery only discharges, so its sign is that of every reading.
        if (raw > 0).any() and (raw < 0).any():
            doubts.add(Flag.UNKNOWN_SIGN)
        sign = -1 if np.median(raw) < 0 else 1
    return sign * raw * scale * volts, doubts


def _guess_scale(raw: FloatArray, volts: FloatArray) -> float | None:
    typical_w = float(np.median(np.abs(raw)) * np.median(volts))
    low, high = PLAUSIBLE_W
    fitting = [scale for scale in CURRENT_UNITS_A.values() if low <= typical_w * scale <= high]
    return fitting[0] if len(fitting) == 1 else None
