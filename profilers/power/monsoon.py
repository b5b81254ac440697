"""Monsoon's High Voltage Power Monitor, through the package Monsoon: the power of its main output.

The monitor stands in for the phone's battery: `voltage_v` is set before the first recording and stays on
until `close`.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from typing import Any

import numpy as np

from perfsage.errors import MissingExtraError, StableDeviceError, TransientDeviceError
from profilers.power.monitor import Clock, Flag, FloatArray, MonitorInfo, PowerTrace
from profilers.power.phone import median_step_s

TIMESTAMP, MAIN_CURRENT_MA, MAIN_VOLTAGE_V = 0, 1, 4
SAMPLES_PER_READ = 5000
VOLTAGE_RANGE_V = (0.8, 13.5)
START_TIMEOUT_S = 15.0


class Monsoon:
    """A PowerMonitor over one Monsoon. `serial` chooses among several; `protocol` replaces the USB layer."""

    def __init__(self, *, voltage_v: float, serial: int | None = None, protocol: Any = None) -> None:
        low, high = VOLTAGE_RANGE_V
        if not low <= voltage_v <= high:
            raise StableDeviceError(f"{voltage_v} V is outside the Monsoon's {low} to {high} V")
        self._voltage_v = voltage_v
        self._serial = serial
        self._protocol = protocol
        self._monitor: Any = None
        self._engine: Any = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._batches: list[list[list[float]]] = []
        self._failure: Exception | None = None
        self._zero = (0.0, 0.0)

    def describe(self) -> MonitorInfo:
        """Say what is measured."""
        return MonitorInfo(
            name="monsoon",
            kind="monsoon",
            measures="main output: everything that stands where the battery was",
            clock=Clock.HOST,
            tool="Monsoon",
            channels=("main",),
        )

    def start(self) -> None:
        """Switch the output on where it is off, and begin to sample."""
        self._open()
        self._stopping.clear()
        self._started.clear()
        self._batches, self._failure = [], None
        self._thread = threading.Thread(target=self._sample, name="monsoon", daemon=True)
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S) or self._failure:
            self._stopping.set()
            raise TransientDeviceError(f"the Monsoon did not begin to sample: {self._failure or 'time-out'}")

    def stop(self) -> PowerTrace:
        """Stop sampling and return the power of the main output."""
        if self._thread is None:
            raise StableDeviceError("the Monsoon is not recording")
        self._stopping.set()
        self._thread.join(START_TIMEOUT_S)
        drift_s = abs((time.time() - self._zero[0]) - (time.monotonic() - self._zero[1]))
        self._thread = None
        if self._failure is not None:
            raise TransientDeviceError(f"the Monsoon stopped answering: {self._failure}") from self._failure
        return self._trace(drift_s)

    def close(self) -> None:
        """Stop sampling, switch the output off and release the monitor."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(START_TIMEOUT_S)
            self._thread = None
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.setVout(0)
            monitor.closeDevice()

    def _open(self) -> None:
        if self._monitor is not None:
            return
        try:
            from Monsoon import HVPM, sampleEngine
        except ImportError:
            raise MissingExtraError("Monsoon", "power") from None
        monitor = HVPM.Monsoon()
        said = io.StringIO()  # the package prints what is wrong, where a JSON document may be expected
        try:
            with contextlib.redirect_stdout(said):
                if self._protocol is None:
                    monitor.setup_usb(self._serial)
                else:
                    monitor.setup_usb(self._serial, self._protocol)
                monitor.fillStatusPacket()
                monitor.setVout(self._voltage_v)
        except Exception as error:  # the package leaves its USB layer's errors as they are
            raise StableDeviceError(
                f"the Monsoon cannot be reached: {said.getvalue().strip() or error}",
                hint="Check its cable, its mains switch and its udev rule.",
            ) from error
        self._monitor = monitor
        self._engine = sampleEngine.SampleEngine(monitor, errorMode=sampleEngine.ErrorHandlingModes.off)
        self._engine.ConsoleOutput(False)
        self._engine.disableCSVOutput()
        self._engine.enableChannel(MAIN_VOLTAGE_V)

    def _sample(self) -> None:
        try:
            # The package stamps with the wall clock, counted from its own start.
            self._zero = (time.time(), time.monotonic())
            if self._engine.periodicStartSampling() is False:
                raise TransientDeviceError("it did not calibrate")
            self._started.set()
            while not self._stopping.is_set():
                self._batches.append(self._engine.periodicCollectSamples(SAMPLES_PER_READ))
            self._engine.periodicStopSampling()
        except Exception as error:
            self._failure = error
            self._started.set()

    def _trace(self, drift_s: float) -> PowerTrace:
        columns = [
            np.array([value for batch in self._batches for value in batch[channel]], dtype=np.float64)
            for channel in (TIMESTAMP, MAIN_CURRENT_MA, MAIN_VOLTAGE_V)
        ]
        if len(columns[0]) < 3:
            raise TransientDeviceError("the Monsoon gave no samples")
        times_s, power_w = _per_packet(columns[0], columns[1] * 1e-3 * columns[2])
        flags = {Flag.DROPPED_SAMPLES} if self._engine.dropped else set()
        if drift_s > 0.1:
            flags.add(Flag.CLOCK_JUMPED)
        return PowerTrace(
            source="monsoon",
            clock=Clock.HOST,
            timestamps_s=times_s + self._zero[1],
            power_w=power_w,
            refresh_s=median_step_s(times_s),
            clock_error_s=drift_s + 0.001,
            flags=frozenset(flags),
        )


def _per_packet(times_s: FloatArray, power_w: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Average the samples of a USB packet, which share one stamp."""
    unique_s, first = np.unique(times_s, return_inverse=True)
    counts = np.bincount(first)
    return unique_s, np.bincount(first, weights=power_w) / counts
