"""The LPM01A against a scripted PowerShield of known power, alone and beside the virtual board."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsage.errors import StableDeviceError, TransientDeviceError
from perfsage.measurement import Measurement
from perfsage.metrics import Metric
from profilers.power.energy import EnergyRefusalError, integrate
from profilers.power.lpm01a import Lpm01a
from profilers.power.lpm01a_lines import Readings
from profilers.power.monitor import Flag, PowerMonitor, Window
from profilers.profiler import Model, Plan
from profilers.serial import BoardSettings
from profilers.serial.board import SerialProfiler
from profilers.serial.emulate import start_tflm
from tests.profilers.networks import small
from tests.serial.peers import Between, PowerShield

POWER_W = 0.0125


@pytest.fixture
def shield() -> Iterator[PowerShield]:
    peer = PowerShield(POWER_W)
    peer.start()
    yield peer
    peer.close()


def opened(peer: PowerShield, **options: float) -> Lpm01a:
    return Lpm01a(peer.path, boot_s=0.0, **options)  # type: ignore[arg-type]


def test_known_energy(shield: PowerShield) -> None:
    monitor = opened(shield)
    assert isinstance(monitor, PowerMonitor)
    monitor.start()
    time.sleep(1.3)
    trace = monitor.stop()
    begin_s = trace.timestamps_s[0]
    energy = integrate(trace, Window(begin_s + 0.1, begin_s + 1.1))
    assert energy.gross_mj == pytest.approx(POWER_W * 1e3, rel=0.01)
    monitor.close()
    monitor.close()
    wanted = [
        "htc",
        "trigsrc sw",
        "eventsrc d7 fal",
        "output energy",
        "format ascii_dec",
        "freq 1k",
        "volt 3000m",
    ]
    assert [c for c in shield.commands if c in wanted] == wanted
    deadline = time.monotonic() + 2.0
    while shield.commands[-1] != "hrc" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert shield.commands[-1] == "hrc"


def test_a_broken_line_is_put_together(shield: PowerShield) -> None:
    shield.break_line_at = 50
    monitor = opened(shield)
    monitor.start()
    time.sleep(0.2)
    assert Flag.DROPPED_SAMPLES not in monitor.stop().flags
    monitor.close()


def test_dropped_samples_refuse_the_energy(shield: PowerShield) -> None:
    shield.drop_after = 100
    monitor = opened(shield)
    monitor.start()
    time.sleep(2.2)
    trace = monitor.stop()
    monitor.close()
    assert Flag.DROPPED_SAMPLES in trace.flags
    begin_s = trace.timestamps_s[0]
    with pytest.raises(EnergyRefusalError):
        integrate(trace, Window(begin_s + 0.1, begin_s + 0.5))


def test_a_stalled_stream_is_named(shield: PowerShield) -> None:
    shield.stall_after = 20
    monitor = opened(shield, stall_s=0.3)
    monitor.start()
    time.sleep(0.6)
    with pytest.raises(TransientDeviceError, match="the stream stalled"):
        monitor.stop()
    monitor.close()


def test_a_refused_command_is_named(shield: PowerShield) -> None:
    shield.refuse = {"output energy"}
    monitor = opened(shield)
    with pytest.raises(StableDeviceError, match="output energy"):
        monitor.start()
    monitor.close()


def test_a_lost_event_counts_as_loss() -> None:
    readings = Readings()
    for line in ("6409-07", "event 01 ris", "6409-07", "event 03 ris", "6409-07"):
        readings.add(line)
    assert readings.samples == pytest.approx([6409e-7] * 3)
    assert readings.edges == [1, 2]
    assert readings.lost == 1


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[tuple[PowerShield, SerialProfiler]]:
    """An energy-mode board whose timestamp pin is wired to a PowerShield."""
    pipe = tmp_path / "edges"
    os.mkfifo(pipe)
    with start_tflm(energy_mode=True, edges=pipe) as port:
        peer = PowerShield(POWER_W, edges=pipe)
        peer.start()
        settings = BoardSettings(
            name="serial:board", address=port.address, window_s=0.3, warmups=1, inputs=3, boot_s=20.0
        )
        profiler = SerialProfiler(settings, monitor=opened(peer, stall_s=0.3))
        yield peer, profiler
        profiler.close()
        peer.close()


def headlines(profiler: SerialProfiler, network: Model) -> dict[Metric, Measurement]:
    (outcome,) = profiler.profile([network], Plan(timeout_s=30.0))
    assert outcome.failure is None
    return {m.metric: m for m in outcome.measurements if m.definition in profiler.describe().metrics.values()}


def test_energy_mode_cuts_by_the_boards_own_edges(wired: tuple[PowerShield, SerialProfiler]) -> None:
    found = headlines(wired[1], small())
    energy, latency = found[Metric.ENERGY_MJ], found[Metric.LATENCY_MS]
    assert energy.value is not None and latency.value is not None
    assert len(energy.samples) == 3
    assert energy.value == pytest.approx(POWER_W * latency.value, rel=0.01)


def test_the_board_is_powered_before_it_is_asked(tmp_path: Path) -> None:
    """A board that its monitor feeds says nothing until the monitor is told to feed it."""
    pipe = tmp_path / "edges"
    os.mkfifo(pipe)
    with start_tflm(energy_mode=True, edges=pipe) as port:
        shield, wire = PowerShield(POWER_W, edges=pipe), Between(port.address)
        wire.to_board = lambda data: data if "pwr on nostatus" in shield.commands else b""
        shield.start()
        wire.start()
        settings = BoardSettings(name="serial:board", address=wire.path, window_s=0.05, inputs=1, boot_s=20.0)
        profiler = SerialProfiler(settings, monitor=opened(shield))
        assert Metric.ENERGY_MJ in profiler.describe().metrics
        profiler.close()
        wire.close()
        shield.close()


def test_a_monitor_that_was_replugged_is_set_up_again(tmp_path: Path) -> None:
    name = tmp_path / "by-id"
    first, second = PowerShield(POWER_W), PowerShield(POWER_W)
    name.symlink_to(first.path)
    first.start()
    second.start()
    monitor = Lpm01a(str(name), boot_s=0.0, stall_s=0.3)
    monitor.start()
    first.close()
    name.unlink()
    name.symlink_to(second.path)
    with pytest.raises(TransientDeviceError):
        monitor.stop()
    monitor.start()
    time.sleep(0.3)
    assert monitor.stop().energy_mj is not None
    monitor.close()
    second.close()
    assert "pwr on nostatus" in second.commands


def test_dropped_samples_cost_the_energy_alone(wired: tuple[PowerShield, SerialProfiler]) -> None:
    peer, profiler = wired
    peer.lose_events = True
    found = headlines(profiler, small())
    assert found[Metric.LATENCY_MS].value is not None
    assert "dropped_samples" in str(found[Metric.ENERGY_MJ].unavailable)
    peer.lose_events = False
    assert headlines(profiler, small(seed=2))[Metric.ENERGY_MJ].value is not None


def test_a_stalled_stream_is_started_again(wired: tuple[PowerShield, SerialProfiler]) -> None:
    peer, profiler = wired
    peer.stall_after, peer.stall_once = 5, True
    energy = headlines(profiler, small())[Metric.ENERGY_MJ]
    assert energy.value is not None, energy.unavailable
    assert peer.commands.count("start") > 3
