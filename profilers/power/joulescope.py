"""Joulescope JS110, JS220 and JS320, through `pyjoulescope_driver` (Apache-2.0).

Power streams at `rate_hz`, the general-purpose input that hears the timestamp pin at the full rate; both
carry the instrument's own sample numbers, so edge and power agree within a microsecond.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

import numpy as np

from perfsage.errors import InvalidInputError, MissingExtraError, StableDeviceError, TransientDeviceError
from profilers.power.edges import falling_edges_s
from profilers.power.monitor import Clock, Flag, FloatArray, MonitorInfo, PowerTrace

START_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Stream:
    """The blocks of one signal, and where the next must begin."""

    blocks: list[Any] = field(default_factory=list)
    times_s: list[FloatArray] = field(default_factory=list)
    next_sample: int | None = None
    lost: bool = False

    def add(self, block: dict[str, Any], samples: Any) -> None:
        """Keep one block; a jump in the sample numbers is a loss."""
        first, step = int(block["sample_id"]), int(block["decimate_factor"])
        self.lost = self.lost or (self.next_sample is not None and first != self.next_sample)
        self.next_sample = first + step * len(samples)
        self.blocks.append(samples)
        self.times_s.append((first + step * np.arange(len(samples))) / float(block["sample_rate"]))

    def joined(self, dtype: Any) -> tuple[Any, FloatArray]:
        """Return all samples, and their times on the instrument's clock."""
        return (
            np.concatenate([np.empty(0, dtype), *self.blocks]),
            np.concatenate([np.empty(0), *self.times_s]),
        )


class Joulescope:
    """One Joulescope; `device` is its path (`u/js220/004079`), or None for the only one."""

    def __init__(self, device: str | None = None, *, rate_hz: int = 10_000, input: int = 0) -> None:
        if not 0 <= input <= 3:
            raise InvalidInputError(f"a Joulescope has no input {input}", where="joulescope input")
        self.device = device
        self.rate_hz = rate_hz
        self.input = input
        self.power, self.levels = Stream(), Stream()
        self._driver: Any = None
        self._path = device or "first"
        self._lock, self._flowing = Lock(), Event()
        self._host_offset_s: float | None = None
        self._edges_s: tuple[float, ...] = ()

    def describe(self) -> MonitorInfo:
        """Return what the monitor is."""
        return MonitorInfo(
            name=f"joulescope:{self._path}",
            kind="joulescope",
            measures="supply of the board",
            clock=Clock.HOST,
            max_rate_hz=float(self.rate_hz),
            tool="pyjoulescope_driver",
            channels=("power", f"GPI{self.input}"),
        )

    def supply(self) -> None:
        """Open the instrument: the board's current flows once its range is set."""
        if self._driver is None:
            self._open()

    def start(self) -> None:
        """Start both streams; returns when power comes."""
        self.supply()
        self.power, self.levels, self._host_offset_s = Stream(), Stream(), None
        self._flowing.clear()
        self._control(1)
        if not self._flowing.wait(START_TIMEOUT_S):
            self._control(0)
            raise TransientDeviceError(
                "the Joulescope sends nothing", where=self._path, hint="Unplug it and plug it in again."
            )

    def stop(self) -> PowerTrace:
        """End the streams and return the power."""
        if self._driver is None or self._host_offset_s is None:
            raise TransientDeviceError("nothing is being recorded", where=self._path)
        self._control(0)
        with self._lock:
            return self.trace()

    def edges_s(self) -> tuple[float, ...]:
        """Return when the timestamp pin fell, on the trace's clock."""
        return self._edges_s

    def close(self) -> None:
        """Release the instrument."""
        if self._driver is not None:
            self._driver.close(self._path)
            self._driver.finalize()
        self._driver = None

    def on_power(self, topic: str, block: dict[str, Any]) -> None:
        """Take a block of power; the driver calls this from its own thread."""
        with self._lock:
            self.power.add(block, np.asarray(block["data"], dtype=np.float64))
            if self._host_offset_s is None:
                end_s = self.power.times_s[-1][-1] if len(self.power.times_s[-1]) else 0.0
                self._host_offset_s = time.monotonic() - float(end_s)
        self._flowing.set()

    def on_levels(self, topic: str, block: dict[str, Any]) -> None:
        """Take a block of the input, eight samples a byte."""
        with self._lock:
            bits = np.unpackbits(np.asarray(block["data"], dtype=np.uint8), bitorder="little")
            self.levels.add(block, bits.astype(bool))

    def trace(self) -> PowerTrace:
        """Return what has come so far on the host's clock, and find its edges."""
        power_w, times_s = self.power.joined(np.float64)
        levels, level_times_s = self.levels.joined(np.bool_)
        offset_s = self._host_offset_s or 0.0
        self._edges_s = falling_edges_s(levels, level_times_s + offset_s)
        trace = PowerTrace(
            source=self.describe().name,
            clock=Clock.HOST,
            timestamps_s=times_s + offset_s,
            power_w=power_w,
            refresh_s=1.0 / self.rate_hz,
        )
        lost = self.power.lost or self.levels.lost or not np.isfinite(power_w).all()
        return trace.flagged(Flag.DROPPED_SAMPLES) if lost else trace

    def _open(self) -> None:
        try:
            from pyjoulescope_driver import Driver
        except ModuleNotFoundError as error:
            raise MissingExtraError("pyjoulescope_driver", "serial") from error
        driver = Driver()
        paths = [path for path in driver.device_paths() if "js" in path]
        if self.device not in (None, *paths) or not paths or (self.device is None and len(paths) > 1):
            driver.finalize()
            raise StableDeviceError(
                f"{self.device or 'one Joulescope'} was asked for, {paths or 'none'} are connected",
                where="joulescope",
                hint="Plug it in, name it by `device`, and install its udev rule.",
            )
        self._driver, self._path = driver, self.device or paths[0]
        driver.open(self._path)
        js110 = "js110" in self._path
        driver.publish(f"{self._path}/s/i/range/{'select' if js110 else 'mode'}", "auto")
        driver.publish(f"{self._path}/h/fs", self.rate_hz)
        driver.subscribe(f"{self._path}/s/p/!data", "pub", self.on_power)
        driver.subscribe(f"{self._path}/s/gpi/{self.input}/!data", "pub", self.on_levels)

    def _control(self, on: int) -> None:
        for signal in (f"gpi/{self.input}", "p"):
            self._driver.publish(f"{self._path}/s/{signal}/ctrl", on)
