"""Pixel phones' on-device power rails monitor: energy counters of up to 16 supply rails, by their own clock.

`/sys/bus/iio/devices/iio:device*/energy_value` holds `t=<ms since boot>` and lines such as
`CH3(T=1234)[S2M_VDD_CPUCL2], 98765` with the energy in microwattseconds. The chip is polled at most every
20 counts of its accumulator (20 ms at 1 kHz, 2.6 s at 7.6 Hz); until then the last values and their `t` are
given again. So times are the chip's, repeated readings are dropped, and a `t` that stands still refuses the
energy. Rails are measured behind the charger: a cable does not matter. Source: the s2mpg1x-odpm driver.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.adb.jobs import Jobs, Stamped
from profilers.adb.transport import Adb
from profilers.power.monitor import Clock, Flag, FloatArray, MonitorInfo, PowerTrace
from profilers.power.phone import Recording, median_step_s

_FIND = "for f in /sys/bus/iio/devices/iio:device*/energy_value; do [ -r $f ] && echo $f; done; true"
_TIME = re.compile(r"t=(\d+)")
_CHANNEL = re.compile(r"CH(\d+)\(T=\d+\)\[([^\]]+)\], (\d+)")
_RAIL = re.compile(r"CH(\d+)\[([^\]]+)\]:(.+)")


class Odpm:
    """A PowerMonitor over the rails of one phone.

    `rails` are rail names or subsystems (`S2M_VDD_CPUCL2`, `CPU(BIG)`); all enabled rails without it. The
    sum of the rails is not the whole phone: every trace carries `partial_rails`.
    """

    def __init__(self, adb: Adb, jobs: Jobs, *, rails: Sequence[str] = (), interval_s: float = 0.1) -> None:
        self._recording = Recording(adb, jobs)
        self._rails = tuple(rails)
        self._interval_s = interval_s
        self._chosen: frozenset[str] | None = None

    def describe(self) -> MonitorInfo:
        """Say what is measured."""
        return MonitorInfo(
            name="odpm",
            kind="odpm",
            measures="supply rails: " + (", ".join(self._rails) or "all that are enabled"),
            clock=Clock.DEVICE,
            max_rate_hz=1.0 / self._interval_s,
            tool="sysfs",
            channels=self._rails,
        )

    def start(self) -> None:
        """Begin to read the counters."""
        adb = self._recording.adb
        files = find_counters(adb)
        if not files:
            raise StableDeviceError(
                "this phone has no power rails that the shell can read",
                where=f"phone {adb.address}",
                hint="Pixel 6 and later have them; some builds want root.",
            )
        self._chosen = self._choose(read_rails(adb))
        body = "; ".join(f"echo @{i}; cat {path}" for i, path in enumerate(files))
        self._recording.start(body, self._interval_s)

    def stop(self) -> PowerTrace:
        """Return the sum of the chosen rails."""
        return odpm_trace(self._recording.stop().lines, self._chosen)

    def close(self) -> None:
        """Stop reading."""
        self._recording.close()

    def _choose(self, known: dict[str, str]) -> frozenset[str] | None:
        if not self._rails:
            return None
        chosen = {name for name, system in known.items() if name in self._rails or system in self._rails}
        missing = [rail for rail in self._rails if rail not in known and rail not in known.values()]
        if missing:
            listed = ", ".join(f"{name} ({system})" for name, system in known.items())
            raise StableDeviceError(
                f"there is no rail {', '.join(missing)}", hint=f"Enabled rails: {listed}."
            )
        return frozenset(chosen)


def find_counters(adb: Adb) -> list[str]:
    """Return the paths of the energy counters that the shell can read."""
    return adb.run(_FIND).text.split()


def read_rails(adb: Adb) -> dict[str, str]:
    """Return the enabled rails with the subsystem that each supplies."""
    text = adb.run("cat /sys/bus/iio/devices/iio:device*/enabled_rails 2>/dev/null; true").text
    return {name: system.strip() for _, name, system in _RAIL.findall(text)}


def odpm_trace(lines: Sequence[Stamped], rails: frozenset[str] | None) -> PowerTrace:
    """Add up the rails (all with None) of every chip, on the chips' clock, in millijoules."""
    chips = _chips(lines, rails)
    if not chips or any(len(times) == 0 for times, _ in chips):
        raise StableDeviceError(
            "the energy counters gave no readings", where="odpm", hint="Check `energy_value`."
        )
    refresh_s = max(median_step_s(times) for times, _ in chips)
    flags = {Flag.PARTIAL_RAILS}
    if any(len(times) < 3 for times, _ in chips):
        flags.add(Flag.STALE)
    # The chips are polled at their own moments: their counters are read off at common times.
    begin, end = max(times[0] for times, _ in chips), min(times[-1] for times, _ in chips)
    union = np.unique(np.concatenate([times for times, _ in chips]))
    common = union[(union >= begin) & (union <= end)]
    energy = sum((np.interp(common, times, energy) for times, energy in chips), np.zeros(len(common)))
    return PowerTrace(
        source="odpm",
        clock=Clock.DEVICE,
        timestamps_s=common,
        energy_mj=energy,
        refresh_s=refresh_s,
        clock_error_s=0.001,
        flags=frozenset(flags),
    )


def _chips(lines: Sequence[Stamped], rails: frozenset[str] | None) -> list[tuple[FloatArray, FloatArray]]:
    """Return (times in s, energy in mJ) of each chip, repeated readings dropped."""
    readings: dict[str, dict[int, dict[str, int]]] = {}
    chip, when = "", None
    for line in lines:
        if line.text.startswith("@"):
            chip, when = line.text, None
        elif found := _TIME.fullmatch(line.text.strip()):
            when = int(found[1])
            readings.setdefault(chip, {}).setdefault(when, {})
        elif when is not None and (channel := _chosen(line.text, rails)):
            readings[chip][when][channel[2]] = int(channel[3])
    traces = (_trace(list(by_time.items())) for by_time in readings.values())
    return [trace for trace in traces if trace is not None]


def _chosen(line: str, rails: frozenset[str] | None) -> re.Match[str] | None:
    found = _CHANNEL.match(line.strip())
    return found if found and (rails is None or found[2] in rails) else None


def _trace(readings: list[tuple[int, dict[str, int]]]) -> tuple[FloatArray, FloatArray] | None:
    channels = max((len(values) for _, values in readings), default=0)
    if channels == 0:
        return None  # a chip without any of the chosen rails
    whole = [(when, sum(values.values())) for when, values in readings if len(values) == channels]
    times = np.array([when for when, _ in whole], dtype=np.float64) / 1e3
    energy_mj = np.array([energy for _, energy in whole], dtype=np.float64) / 1e3
    if (np.diff(times) <= 0).any() or (np.diff(energy_mj) < 0).any():
        raise TransientDeviceError(
            "an energy counter was set back while recording", where="odpm", hint="Measure again."
        )
    return times, energy_mj
