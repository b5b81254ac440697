"""Nordic Power Profiler Kit II, through `ppk2lab` (MIT): 100 000 samples of current a second and 8 inputs.

The kit measures current alone. As a source it sets the voltage, so that energy is known; as an ampere meter
the voltage is the configured one, and the trace says so.
"""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import Any

import numpy as np

from perfsage.errors import InvalidInputError, MissingExtraError, StableDeviceError, TransientDeviceError
from profilers.power.edges import falling_edges_s
from profilers.power.monitor import Clock, Flag, MonitorInfo, PowerTrace

RATE_HZ = 100_000
DIGITAL_INPUTS = 8
DECIMATION = 10
"""Samples averaged into one of the trace: 10 kHz is enough for windows of seconds."""


class Ppk2:
    """One PPK2. `digital` is the input (0 to 7) that hears the board's timestamp pin.

    A stream that is silent for `stall_s` has stalled: it is named at `stop`, and may be started again.
    """

    def __init__(
        self,
        port: str | None = None,
        *,
        serial_number: str | None = None,
        voltage_v: float = 3.0,
        source: bool = True,
        digital: int = 0,
        boot_s: float = 1.0,
        stall_s: float = 2.0,
    ) -> None:
        if not 0.8 <= voltage_v <= 5.0:
            raise InvalidInputError(f"{voltage_v} V is not in 0.8 to 5.0 V", where="ppk2 voltage_v")
        if not 0 <= digital < DIGITAL_INPUTS:
            raise InvalidInputError(f"the PPK2 has no input {digital}", where="ppk2 digital")
        self.port = port
        self.serial_number = serial_number
        self.voltage_v = voltage_v
        self.source = source
        self.digital = digital
        self.boot_s = boot_s
        self.stall_s = stall_s
        self._device: Any = None
        self._recording: _Recording | None = None
        self._edges_s: tuple[float, ...] = ()

    def describe(self) -> MonitorInfo:
        """Return what the monitor is."""
        return MonitorInfo(
            name=f"ppk2:{self.port or self.serial_number or 'first'}",
            kind="ppk2",
            measures="supply of the board",
            clock=Clock.HOST,
            max_rate_hz=RATE_HZ / DECIMATION,
            tool="ppk2lab",
            channels=("current", f"D{self.digital}"),
        )

    def supply(self) -> None:
        """Open the kit and power the board; does nothing when that is done."""
        if self._device is None:
            self._open()

    def start(self) -> None:
        """Start to stream."""
        self.supply()
        self._recording = _Recording(self._device, self.voltage_v, self.digital, self.stall_s)
        self._recording.await_samples()

    def stop(self) -> PowerTrace:
        """End the stream and return it as power."""
        if self._recording is None:
            raise TransientDeviceError("nothing is being recorded", where=self.describe().name)
        recording, self._recording = self._recording, None
        recording.end()
        if recording.failure is not None:
            raise TransientDeviceError(
                f"the PPK2 stopped streaming: {recording.failure}",
                where=self.describe().name,
                hint="Unplug it and plug it in again.",
            )
        return self._trace(recording)

    def edges_s(self) -> tuple[float, ...]:
        """Return when the timestamp pin fell, on the trace's clock."""
        return self._edges_s

    def close(self) -> None:
        """Stop, take the board's power away, and release the port."""
        if self._recording is not None:
            self._recording.end()
            self._recording = None
        if self._device is not None:
            self._device.close()
        self._device = None

    def _open(self) -> None:
        try:
            import ppk2lab
        except ModuleNotFoundError as error:
            raise MissingExtraError("ppk2lab", "serial") from error
        try:
            self._device = _open_device(self.port, self.serial_number)
            if self.source:
                self._device.set_mode(ppk2lab.Mode.SOURCE)
                self._device.set_source_voltage_mv(round(self.voltage_v * 1000))
            else:
                self._device.set_mode(ppk2lab.Mode.AMPERE)
            self._device.set_dut_power(True)
        except Exception as error:
            # ppk2lab's errors have one base of their own, which an older one may lack.
            raise StableDeviceError(
                f"the PPK2 cannot be used: {error}", where=self.describe().name, hint="Plug it in by USB."
            ) from error
        time.sleep(self.boot_s)

    def _trace(self, recording: _Recording) -> PowerTrace:
        period_s = DECIMATION / RATE_HZ
        power_w, self._edges_s, lost = recording.result()
        trace = PowerTrace(
            source=self.describe().name,
            clock=Clock.HOST,
            timestamps_s=recording.begun_s + (np.arange(len(power_w), dtype=np.float64) + 0.5) * period_s,
            power_w=power_w,
            refresh_s=period_s,
            flags=frozenset() if self.source else frozenset({Flag.ASSUMED_VOLTAGE}),
        )
        return trace.flagged(Flag.DROPPED_SAMPLES) if lost else trace


def _open_device(port: str | None, serial_number: str | None) -> Any:
    """Open by port without looking for USB devices first, so that any port that speaks as a PPK2 will do."""
    import ppk2lab
    from ppk2lab.transport import SerialTransport

    if port is not None:
        return ppk2lab.PPK2.open(transport=SerialTransport(port))
    return ppk2lab.PPK2.open(serial_number=serial_number)


class _Recording:
    """A thread that keeps what streams: current and the timestamp input, sample by sample."""

    def __init__(self, device: Any, voltage_v: float, digital: int, stall_s: float) -> None:
        self.begun_s = time.monotonic()
        self.failure: str | None = None
        self._device, self._voltage_v, self._digital = device, voltage_v, digital
        self._stall_s = stall_s
        self._blocks: list[Any] = []
        self._lost = 0
        self._ending, self._flowing = Event(), Event()
        self._thread = Thread(target=self._read, name="ppk2", daemon=True)
        self._thread.start()

    def await_samples(self) -> None:
        """Return when the first samples have come, or the stream has failed."""
        self._flowing.wait(10.0)

    def end(self) -> None:
        """Stop the stream."""
        self._ending.set()
        self._thread.join(20.0)

    def result(self) -> tuple[Any, tuple[float, ...], int]:
        """Return power in watts at a tenth of the rate, the edges in seconds, and the samples lost."""
        convert, voltage_mv = self._device.calibration.convert_block, self._voltage_v * 1000
        current_ua = np.concatenate([np.empty(0), *(convert(block, voltage_mv) for block in self._blocks)])
        logic = np.frombuffer(b"".join(block.logic for block in self._blocks), np.uint8)
        levels = (logic >> self._digital & 1).astype(bool)
        invalid = np.isnan(current_ua)
        current_ua[invalid] = 0.0
        times_s = self.begun_s + np.arange(len(levels)) / RATE_HZ
        whole = len(current_ua) // DECIMATION * DECIMATION
        mean_ua = current_ua[:whole].reshape(-1, DECIMATION).mean(axis=1)
        return (
            mean_ua * 1e-6 * self._voltage_v,
            falling_edges_s(levels, times_s),
            self._lost + int(invalid.sum()),
        )

    def _read(self) -> None:
        try:
            with self._device.stream(idle_timeout_s=self._stall_s) as events:
                for event in events:
                    self._take(event)
                    self._flowing.set()
                    if self._ending.is_set():
                        return
        except Exception as error:
            self.failure = str(error)
        finally:
            self._flowing.set()

    def _take(self, event: Any) -> None:
        if not hasattr(event, "words"):
            self._lost += 1
            return
        self._blocks.append(event)
