"""Qoitech Otii Arc and Ace, through `otii-tcp-client` (MIT) and a running Otii server (port 1905).

Current and voltage come from the recording, edges from the digital input GPI1 or GPI2. The server wants a
login and an `Automation` licence; its client reads both from OTII_USERNAME and OTII_PASSWORD.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from perfsage.errors import InvalidInputError, MissingExtraError, StableDeviceError, TransientDeviceError
from profilers.power.monitor import Clock, FloatArray, MonitorInfo, PowerTrace

CURRENT, VOLTAGE = "mc", "mv"
CONNECT_S = 2


class Otii:
    """One Arc or Ace; `input` is 1 or 2, the digital input that hears the timestamp pin."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 1905,
        *,
        device: str | None = None,
        voltage_v: float = 3.0,
        max_current_a: float = 0.5,
        input: int = 1,
        boot_s: float = 1.0,
    ) -> None:
        if input not in (1, 2):
            raise InvalidInputError(f"the Otii has no digital input {input}", where="otii input")
        self.host, self.port = host, port
        self.device = device
        self.voltage_v = voltage_v
        self.max_current_a = max_current_a
        self.input = input
        self.boot_s = boot_s
        self._client: Any = None
        self._arc: Any = None
        self._project: Any = None
        self._begun_s = 0.0
        self._edges_s: tuple[float, ...] = ()

    def describe(self) -> MonitorInfo:
        """Return what the monitor is."""
        return MonitorInfo(
            name=f"otii:{self.device or f'{self.host}:{self.port}'}",
            kind="otii",
            measures="supply of the board",
            clock=Clock.HOST,
            tool="otii-tcp-client",
            channels=(CURRENT, VOLTAGE, f"i{self.input}"),
        )

    def supply(self) -> None:
        """Power the board; does nothing when that is done."""
        if self._arc is None:
            self._guard(self._open)

    def start(self) -> None:
        """Start a recording."""
        self.supply()
        self._guard(self._project.start_recording)
        self._begun_s = time.monotonic()

    def stop(self) -> PowerTrace:
        """End the recording and return current times voltage."""
        if self._project is None:
            raise TransientDeviceError("nothing is being recorded", where=self.describe().name)
        self._guard(self._project.stop_recording)
        trace: PowerTrace = self._guard(self._trace)
        return trace

    def edges_s(self) -> tuple[float, ...]:
        """Return when the timestamp pin fell, on the trace's clock."""
        return self._edges_s

    def close(self) -> None:
        """Take the board's power away and leave the server."""
        if self._arc is not None:
            self._guard(lambda: self._arc.set_main(False))
        if self._client is not None:
            self._client.disconnect()
        self._client = self._arc = self._project = None

    def _open(self) -> None:
        try:
            from otii_tcp_client.otii_client import OtiiClient
        except ModuleNotFoundError as error:
            raise MissingExtraError("otii-tcp-client", "serial") from error
        self._client = OtiiClient()
        otii = self._client.connect(host=self.host, port=self.port, try_for_seconds=CONNECT_S)
        arcs = [arc for arc in otii.get_devices() if self.device in (None, arc.name)]
        if len(arcs) != 1:
            raise StableDeviceError(
                f"{len(arcs)} Otii devices match {self.device or 'any'}",
                where=self.describe().name,
                hint="Name one by `device`.",
            )
        self._project = otii.get_active_project() or otii.create_project()
        self._arc = arcs[0]
        self._arc.add_to_project()
        self._arc.set_main_voltage(self.voltage_v)
        self._arc.set_max_current(self.max_current_a)
        self._arc.enable_exp_port(True)
        for channel in (CURRENT, VOLTAGE, f"i{self.input}"):
            self._arc.enable_channel(channel, True)
        self._arc.set_main(True)
        time.sleep(self.boot_s)

    def _trace(self) -> PowerTrace:
        recording = self._project.get_last_recording()
        current_a, times_s = self._analog(recording, CURRENT)
        voltage_v, voltage_times_s = self._analog(recording, VOLTAGE)
        self._edges_s = tuple(self._begun_s + edge_s for edge_s in self._falls(recording))
        return PowerTrace(
            source=self.describe().name,
            clock=Clock.HOST,
            timestamps_s=self._begun_s + times_s,
            power_w=current_a * np.interp(times_s, voltage_times_s, voltage_v),
            refresh_s=float(times_s[1] - times_s[0]) if len(times_s) > 1 else 1.0,
        )

    def _analog(self, recording: Any, channel: str) -> tuple[FloatArray, FloatArray]:
        count = recording.get_channel_data_count(self._arc.id, channel)
        if not count:
            raise TransientDeviceError(f"the Otii recorded no {channel}", where=self.describe().name)
        data = recording.get_channel_data(self._arc.id, channel, 0, count)
        values = np.asarray(data["values"], dtype=np.float64)
        return values, float(data["timestamp"]) + np.arange(len(values), dtype=np.float64) * float(
            data["interval"]
        )

    def _falls(self, recording: Any) -> list[float]:
        channel = f"i{self.input}"
        count = recording.get_channel_data_count(self._arc.id, channel)
        data = recording.get_channel_data(self._arc.id, channel, 0, count) if count else {"values": []}
        return [float(entry["timestamp"]) for entry in data["values"] if not entry["value"]]

    def _guard(self, action: Any) -> Any:
        """Run a call of the client; its errors are of several unrelated classes."""
        try:
            return action()
        except (TransientDeviceError, StableDeviceError, MissingExtraError):
            raise
        except Exception as error:
            raise TransientDeviceError(
                f"the Otii server failed: {error}",
                where=self.describe().name,
                hint="Start the Otii server, log in, and reserve an Automation licence.",
            ) from error
