"""ST X-NUCLEO-LPM01A ("PowerShield"): supplies a board and measures its energy, over a serial port.

Commands are ASCII lines, answered by `ack COMMAND` or `error COMMAND`; samples follow as text up to 5 kHz.
The strings are those of ST's firmware 1.0.6 as MLCommons' runner uses them (mlcommons/tiny, Apache-2.0).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import numpy as np

from perfsage.errors import InvalidInputError, StableDeviceError, TransientDeviceError
from profilers.power.lpm01a_lines import Readings
from profilers.power.monitor import Clock, Flag, MonitorInfo, PowerTrace
from profilers.serial.ports import parse_address, pyserial, resolve

BAUD = 3_686_400
RATES_HZ = (5000, 2000, 1000, 500, 200, 100, 50, 20, 10)
"""The rates at which text keeps coming without end."""
PROMPT = "PowerShield >"
LINE_LIMIT_BYTES = 4096
STALLED_SHARE = 0.5
"""With fewer samples than this the stream stood still; fewer losses are flagged in the trace."""


class Lpm01a:
    """One PowerShield. `voltage_v` (1.8 to 3.3) supplies the board; D7 hears its timestamp pin."""

    def __init__(
        self,
        address: str = "0483:5740",
        *,
        voltage_v: float = 3.0,
        rate_hz: int = 1000,
        boot_s: float = 1.0,
        answer_s: float = 2.0,
        stall_s: float = 2.0,
        keep_power: bool = True,
    ) -> None:
        if not 1.8 <= voltage_v <= 3.3:
            raise InvalidInputError(f"{voltage_v} V is not in 1.8 to 3.3 V", where="lpm01a voltage_v")
        if rate_hz not in RATES_HZ:
            raise InvalidInputError(f"the LPM01A has no rate of {rate_hz} Hz", hint=f"Rates: {RATES_HZ}.")
        self.address = parse_address(address)
        self.voltage_v = voltage_v
        self.rate_hz = rate_hz
        self.boot_s = boot_s
        self.answer_s = answer_s
        self.stall_s = stall_s
        self.keep_power = keep_power
        self._port: Any = None
        self._buffer = bytearray()
        self._edges_s: tuple[float, ...] = ()
        self._recording: _Recording | None = None

    def describe(self) -> MonitorInfo:
        """Return what the monitor is."""
        return MonitorInfo(
            name=f"lpm01a:{self.address}",
            kind="lpm01a",
            measures="supply of the board",
            clock=Clock.HOST,
            max_rate_hz=float(self.rate_hz),
            tool="X-NUCLEO-LPM01A",
            channels=("energy", "D7"),
        )

    def supply(self) -> None:
        """Set the instrument up and power the board; does nothing when that is done."""
        if self._port is None:
            self._open()

    def start(self) -> None:
        """Start an acquisition."""
        self.supply()
        # Bytes of an earlier acquisition would shift all counts.
        self._guard(lambda port: port.reset_input_buffer())
        self._buffer.clear()
        self._command("start")
        self._recording = _Recording(self)

    def stop(self) -> PowerTrace:
        """End the acquisition and return it as an energy counter."""
        if self._recording is None:
            raise TransientDeviceError("nothing is being recorded", where=self.describe().name)
        recording, self._recording = self._recording, None
        expected = (time.monotonic() - recording.begun_s) * self.rate_hz
        readings = recording.end()
        if readings is None or len(readings.samples) < STALLED_SHARE * expected:
            came = "no samples" if readings is None else f"{len(readings.samples)} of {expected:.0f} samples"
            raise TransientDeviceError(
                f"the stream stalled: {came} came",
                where=self.describe().name,
                hint="Check the USB connection; restart the LPM01A.",
            )
        return self._trace(readings, recording.begun_s)

    def edges_s(self) -> tuple[float, ...]:
        """Return when D7 moved, on the trace's clock."""
        return self._edges_s

    def close(self) -> None:
        """Give the instrument back to its own buttons, and the port to others."""
        if self._port is None:
            return
        if self._recording is not None:
            self._recording.end()
            self._recording = None
        for command in ("stop", *(() if self.keep_power else ("pwr off",)), "hrc"):
            try:
                self._write(command)
            except (TransientDeviceError, StableDeviceError):
                break
        if self._port is not None:
            self._port.close()
        self._port = None

    def _open(self) -> None:
        serial = pyserial()
        try:
            self._port = serial.serial_for_url(
                resolve(self.address), baudrate=BAUD, timeout=0.05, write_timeout=2.0
            )
        except (serial.SerialException, OSError) as error:
            raise StableDeviceError(
                f"the LPM01A cannot be opened: {error}", where=self.address, hint="Plug it in by USB."
            ) from error
        self._write("stop")
        self._drain()
        self._setup()

    def _setup(self) -> None:
        for command in (
            "htc",
            "acqtime inf",
            "trigdelay 0",
            "trigsrc sw",
            "eventsrc d7 fal",
            "output energy",
            "format ascii_dec",
            f"freq {_short(self.rate_hz)}",
            f"volt {round(self.voltage_v * 1000)}m",
            "pwr on nostatus",
        ):
            self._command(command)
        time.sleep(self.boot_s)

    def _command(self, text: str) -> None:
        """Send a command and wait for its acknowledgement; what else comes before it is old."""
        self._write(text)
        deadline, said = time.monotonic() + self.answer_s, []
        while (line := self._line(deadline)) is not None:
            said.append(line)
            if line == f"ack {text}":
                return
            if line.startswith(("error ", "Error detail")):
                raise StableDeviceError(
                    f"the LPM01A refused {text!r}: {line}", where=self.address, hint="Update its firmware."
                )
        raise TransientDeviceError(
            f"the LPM01A did not acknowledge {text!r}; it said {said[-3:]}",
            where=self.address,
            hint="Unplug it and plug it in again.",
        )

    def _write(self, text: str) -> None:
        self._guard(lambda port: port.write(text.encode("ascii") + b"\r\n"))

    def _guard(self, action: Callable[[Any], Any]) -> Any:
        """Use the port; one that vanished is opened again, wherever it is then, by the next `supply`."""
        if self._port is None:
            raise TransientDeviceError("the LPM01A is not open", where=self.address)
        try:
            return action(self._port)
        except (pyserial().SerialException, OSError, TypeError) as error:
            port, self._port = self._port, None
            port.close()
            raise TransientDeviceError(f"the LPM01A vanished: {error}", where=self.address) from error

    def _line(self, deadline: float) -> str | None:
        while (end := self._buffer.find(b"\n")) < 0:
            if time.monotonic() >= deadline:
                return None
            self._buffer += self._guard(lambda port: port.read(max(1, min(port.in_waiting, 65536))))
            if len(self._buffer) > LINE_LIMIT_BYTES and b"\n" not in self._buffer:
                self._buffer.clear()
        line = self._buffer[:end].decode("ascii", "replace").replace("\0", "")
        del self._buffer[: end + 1]
        return line.replace(PROMPT, "").strip()

    def _drain(self) -> None:
        quiet_at = time.monotonic() + 0.1
        while self._line(quiet_at) is not None:
            pass
        self._buffer.clear()

    def _trace(self, readings: Readings, begun_s: float) -> PowerTrace:
        """Return cumulated energy; sample i covers the i-th period after the start."""
        period_s = 1.0 / self.rate_hz
        counted_mj = np.concatenate(([0.0], np.cumsum(np.asarray(readings.samples, dtype=np.float64)) * 1e3))
        times_s = begun_s + np.arange(len(counted_mj), dtype=np.float64) * period_s
        self._edges_s = tuple(begun_s + index * period_s for index in readings.edges)
        trace = PowerTrace(
            source=self.describe().name,
            clock=Clock.HOST,
            timestamps_s=times_s,
            energy_mj=counted_mj,
            refresh_s=period_s,
        )
        return trace.flagged(Flag.DROPPED_SAMPLES) if readings.lost else trace


class _Recording:
    """A thread that reads samples until it is told to end."""

    def __init__(self, monitor: Lpm01a) -> None:
        self.begun_s = time.monotonic()
        self._monitor = monitor
        self._readings = Readings()
        self._ending, self._stalled, self._ended = Event(), Event(), Event()
        self._thread = Thread(target=self._read, name="lpm01a", daemon=True)
        self._thread.start()

    def end(self) -> Readings | None:
        """Stop the acquisition; None when the stream had stalled."""
        self._ending.set()
        self._thread.join(self._monitor.stall_s + 5.0)
        return None if self._stalled.is_set() else self._readings

    def _read(self) -> None:
        stopped, heard_s = False, time.monotonic()
        try:
            while True:
                if self._ending.is_set() and not stopped:
                    self._monitor._write("stop")
                    stopped = True
                line = self._monitor._line(time.monotonic() + 0.05)
                now_s = time.monotonic()
                if line is not None:
                    heard_s = now_s
                    if "Acquisition completed" in line:
                        return
                    self._readings.add(line)
                elif now_s - heard_s > self._monitor.stall_s:
                    self._stalled.set()
                    if not stopped:
                        self._monitor._write("stop")
                    return
        except TransientDeviceError:
            self._stalled.set()


def _short(rate_hz: int) -> str:
    return f"{rate_hz // 1000}k" if rate_hz >= 1000 else str(rate_hz)
