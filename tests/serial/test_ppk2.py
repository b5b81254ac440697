"""The PPK2 against ppk2lab's simulated kit behind a pseudo-terminal, with a known current."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("ppk2lab")

from ppk2lab.testing.profiles import ArrayProfile
from ppk2lab.transport.mock import SimulatedPPK2

from perfsage.errors import TransientDeviceError
from profilers.power.energy import integrate
from profilers.power.monitor import Flag, PowerMonitor, Window
from profilers.power.ppk2 import RATE_HZ, Ppk2
from tests.serial.peers import PtyPeer

CURRENT_UA = 4000.0
VOLTAGE_V = 3.3


class Kit(PtyPeer):
    """The bytes of a PPK2: the pin on D2 falls at 0.3 s and at 0.8 s."""

    def __init__(self, gaps: dict[int, int] | None = None) -> None:
        super().__init__()
        currents = [CURRENT_UA] * RATE_HZ * 4
        logic = [0xFF] * len(currents)
        for edge_s in (0.3, 0.8):
            for index in range(int(edge_s * RATE_HZ), int(edge_s * RATE_HZ) + 5):
                logic[index] = 0xFB
        profile = ArrayProfile(currents, logic)
        self.kit = SimulatedPPK2(profile=profile, rate_limit_hz=RATE_HZ, gaps=gaps)
        self.lock = threading.Lock()
        self.stalled = threading.Event()
        self.run(self._stream)

    def heard(self, data: bytes) -> None:
        with self.lock:
            self.kit.handle_write(data)

    def _stream(self) -> None:
        while self._open:
            with self.lock:
                data = self.kit.read(16384, 0.001)
            if not self.stalled.is_set():
                self.write(data)
            time.sleep(0.002)


@pytest.fixture
def kit() -> Iterator[Kit]:
    peer = Kit()
    peer.start()
    yield peer
    peer.close()


def test_known_energy_between_edges(kit: Kit) -> None:
    monitor = Ppk2(kit.path, voltage_v=VOLTAGE_V, digital=2, boot_s=0.0)
    assert isinstance(monitor, PowerMonitor)
    monitor.start()
    time.sleep(1.2)
    trace = monitor.stop()
    first_s, second_s = monitor.edges_s()
    monitor.close()
    monitor.close()
    assert second_s - first_s == pytest.approx(0.5, abs=1e-4)
    assert Flag.DROPPED_SAMPLES not in trace.flags
    energy = integrate(trace, Window(first_s, second_s))
    assert energy.gross_mj == pytest.approx(CURRENT_UA * 1e-6 * VOLTAGE_V * 0.5 * 1e3, rel=0.01)


def test_lost_samples_are_flagged() -> None:
    peer = Kit(gaps={20_000: 7})
    peer.start()
    monitor = Ppk2(peer.path, voltage_v=VOLTAGE_V, digital=2, boot_s=0.0)
    monitor.start()
    time.sleep(0.6)
    trace = monitor.stop()
    monitor.close()
    peer.close()
    assert Flag.DROPPED_SAMPLES in trace.flags


def test_a_stalled_stream_is_named_and_the_next_one_measures(kit: Kit) -> None:
    monitor = Ppk2(kit.path, voltage_v=VOLTAGE_V, digital=2, boot_s=0.0, stall_s=0.5)
    monitor.start()
    time.sleep(0.2)
    kit.stalled.set()
    time.sleep(1.0)
    with pytest.raises(TransientDeviceError, match="stopped streaming"):
        monitor.stop()
    kit.stalled.clear()
    monitor.start()
    time.sleep(0.3)
    assert len(monitor.stop().timestamps_s) > 1000
    monitor.close()
