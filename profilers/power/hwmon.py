"""INA219, INA226, INA228, INA260, INA3221 and their kind, through Linux's hwmon on this machine.

The kernel's ina2xx drivers give `power1_input` in microwatts, or `curr1_input` in milliamperes with
`in1_input` in millivolts. Reading faster than the chip converts gives repeated values: these are dropped.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.power.monitor import Clock, MonitorInfo, PowerTrace
from profilers.power.phone import median_step_s

HWMON = Path("/sys/class/hwmon")


def find_chips(root: Path = HWMON) -> dict[str, Path]:
    """Return the current and power sensors of this machine, by driver name and folder."""
    folders = sorted(root.glob("hwmon*")) if root.exists() else []
    return {
        f"{_text(folder / 'name') or folder.name}:{folder.name}": folder
        for folder in folders
        if (folder / "power1_input").exists() or (folder / "curr1_input").exists()
    }


class Hwmon:
    """A PowerMonitor over one channel of one sensor; `path` is its folder below /sys/class/hwmon."""

    def __init__(self, *, path: str | Path, channel: int = 1, interval_s: float = 0.002) -> None:
        self._folder = Path(path)
        self._channel = channel
        self._interval_s = interval_s
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._readings: list[tuple[float, float]] = []
        self._failure: OSError | ValueError | None = None

    def describe(self) -> MonitorInfo:
        """Say what is measured."""
        return MonitorInfo(
            name=f"hwmon:{self._folder.name}",
            kind="hwmon",
            measures=f"what channel {self._channel} of {self._folder} supplies",
            clock=Clock.HOST,
            max_rate_hz=1.0 / self._interval_s,
            tool="hwmon",
        )

    def start(self) -> None:
        """Begin to read the sensor; StableDeviceError where it is not there."""
        try:
            self._read_w()
        except (OSError, ValueError) as error:
            raise StableDeviceError(
                f"the sensor cannot be read: {error}",
                where=str(self._folder),
                hint="Load the driver, such as ina2xx, and give the folder that holds power1_input.",
            ) from error
        self._stopping.clear()
        self._readings, self._failure = [], None
        self._thread = threading.Thread(target=self._sample, name="hwmon", daemon=True)
        self._thread.start()

    def stop(self) -> PowerTrace:
        """Stop reading and return the trace."""
        if self._thread is None:
            raise StableDeviceError("the sensor is not being read", where=str(self._folder))
        self.close()
        if self._failure is not None:
            raise TransientDeviceError(
                f"the sensor stopped answering: {self._failure}", where=str(self._folder)
            )
        if len(self._readings) < 3:
            raise StableDeviceError("the sensor's readings never change", where=str(self._folder))
        times_s, power_w = (
            np.array(column, dtype=np.float64) for column in zip(*self._readings, strict=True)
        )
        return PowerTrace(
            source=self.describe().name,
            clock=Clock.HOST,
            timestamps_s=times_s,
            power_w=power_w,
            refresh_s=median_step_s(times_s),
            clock_error_s=self._interval_s,
        )

    def close(self) -> None:
        """Stop reading."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None

    def _sample(self) -> None:
        last_w = None
        while not self._stopping.wait(self._interval_s):
            try:
                power_w = self._read_w()
            except (OSError, ValueError) as error:
                self._failure = error
                return
            if power_w != last_w:
                self._readings.append((time.monotonic(), power_w))
                last_w = power_w

    def _read_w(self) -> float:
        power = self._folder / f"power{self._channel}_input"
        if power.exists():
            return int(power.read_text()) / 1e6
        current_ma = int((self._folder / f"curr{self._channel}_input").read_text())
        # INA3221 numbers the bus voltages like its currents; INA2xx have the bus voltage as in1.
        voltage_mv = int((self._folder / f"in{self._channel}_input").read_text())
        return current_ma * voltage_mv / 1e6


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
