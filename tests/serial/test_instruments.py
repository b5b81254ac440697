"""Joulescope by its blocks, since its driver needs the instrument; Otii against a scripted server."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from perfsage.errors import StableDeviceError, TransientDeviceError
from profilers.power.energy import integrate
from profilers.power.joulescope import Joulescope
from profilers.power.monitor import Flag, PowerMonitor, Window
from profilers.power.otii import Otii

POWER_W = 0.02
RATE_HZ = 1_000_000
STEP = 100


def power_block(first: int, count: int) -> dict[str, Any]:
    data = np.full(count, POWER_W, np.float32)
    return {"sample_id": first, "decimate_factor": STEP, "sample_rate": RATE_HZ, "data": data}


def level_block(first: int, levels: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
    packed = np.packbits(levels, bitorder="little")
    return {"sample_id": first, "decimate_factor": 1, "sample_rate": RATE_HZ, "data": packed}


def fed() -> Joulescope:
    monitor = Joulescope()
    levels = np.ones(RATE_HZ // 2, bool)
    levels[100_000:100_003] = levels[400_000:400_003] = False
    for start in range(0, len(levels), 50_000):
        monitor.on_levels("", level_block(start, levels[start : start + 50_000]))
        monitor.on_power("", power_block(start, 50_000 // STEP))
    return monitor


def test_joulescope_cuts_by_its_own_samples() -> None:
    monitor = fed()
    assert isinstance(monitor, PowerMonitor)
    trace = monitor.trace()
    first_s, second_s = monitor.edges_s()
    assert second_s - first_s == pytest.approx(0.3, abs=1e-9)
    energy = integrate(trace, Window(first_s, second_s))
    assert energy.gross_mj == pytest.approx(POWER_W * 300, rel=1e-6)


def test_joulescope_flags_a_jump_in_the_samples() -> None:
    monitor = fed()
    monitor.on_power("", power_block(700_000, 10))
    assert Flag.DROPPED_SAMPLES in monitor.trace().flags


def test_joulescope_that_is_not_there() -> None:
    pytest.importorskip("pyjoulescope_driver")
    with pytest.raises(StableDeviceError, match="are connected"):
        Joulescope("u/js220/none").start()


class OtiiServer(socketserver.StreamRequestHandler):
    """Answers the client's JSON: 2 s at 1 kHz, 5 mA and 3.3 V, edges at 0.5 s and 1.5 s."""

    RESULTS: dict[str, dict[str, Any]] = {
        "otii_get_devices": {"devices": [{"device_id": "a1", "name": "Arc", "type": "Arc"}]},
        "otii_get_active_project": {"project_id": 1},
        "otii_is_logged_in": {"logged_in": True},
        "otii_get_licenses": {
            "licenses": [{"id": 1, "type": "Automation", "available": True, "reserved_to": "me"}]
        },
        "project_get_last_recording": {"recording_id": 7, "name": "r"},
    }

    def handle(self) -> None:
        self.wfile.write(
            self.framed({"type": "information", "info": "connected", "data": {"protocol_version": "0.1"}})
        )
        for line in iter(self.rfile.readline, b""):
            request = json.loads(line)
            answer = {"type": "response", "cmd": request["cmd"], "trans_id": request["trans_id"]}
            self.wfile.write(self.framed(answer | {"data": self.data(request)}))

    def framed(self, message: dict[str, Any]) -> bytes:
        return json.dumps(message).encode() + b"\r\n"

    def data(self, request: dict[str, Any]) -> dict[str, Any]:
        command, data = request["cmd"], request.get("data", {})
        channel = data.get("channel")
        if command == "recording_get_channel_data_count":
            return {"count": 4 if channel == "i1" else 2001}
        if command != "recording_get_channel_data":
            return self.RESULTS.get(command, {})
        if channel == "i1":
            edges = ((0.5, False), (0.501, True), (1.5, False), (1.501, True))
            return {"values": [{"timestamp": t, "value": v} for t, v in edges]}
        value = 0.005 if channel == "mc" else 3.3
        return {"timestamp": 0.0, "interval": 0.001, "values": [value] * data["count"]}


@pytest.fixture
def otii_port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), OtiiServer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_otii_against_a_scripted_server(otii_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("otii_tcp_client")
    monitor = Otii(port=otii_port, boot_s=0.0)
    monitor.start()
    trace = monitor.stop()
    first_s, second_s = monitor.edges_s()
    monitor.close()
    monitor.close()
    assert second_s - first_s == pytest.approx(1.0)
    assert integrate(trace, Window(first_s, second_s)).gross_mj == pytest.approx(0.005 * 3.3 * 1e3, rel=1e-3)


def test_otii_without_a_server() -> None:
    pytest.importorskip("otii_tcp_client")
    with pytest.raises(TransientDeviceError, match="Otii server failed"):
        Otii(port=1).start()
