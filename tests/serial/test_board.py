"""Whole measurements: reboots, replugging, IO managers, firmware without the extension, names."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from dataset.builder import Builder
from perfsage.errors import TransientDeviceError, UnknownNameError
from perfsage.measurement import Mode
from perfsage.metrics import Metric
from profilers.profiler import Outcome, Plan
from profilers.serial import BoardSettings, open_device
from profilers.serial.board import SerialProfiler
from profilers.serial.emulate import EmulatedPort, board_names, start_tflm
from profilers.serial.errors import PortGoneError
from profilers.serial.iomanager import IoManager
from profilers.serial.link import Link
from tests.profilers.networks import keyword_spotter, model, small
from tests.serial.peers import Between, PtyPeer

PLAN = Plan(timeout_s=20.0)


def settings(address: str, **changes: object) -> BoardSettings:
    fields = {"name": "serial:test", "address": address, "window_s": 0.02, "inputs": 3, "boot_s": 20.0}
    return BoardSettings(**{**fields, "replug_s": 5.0, **changes})  # type: ignore[arg-type]


def value(outcome: Outcome, metric: Metric) -> float:
    found = next(m for m in outcome.measurements if m.metric is metric and m.operator is None)
    assert found.value is not None, found.unavailable
    return found.value


def test_measures_and_says_how(board: EmulatedPort) -> None:
    profiler = SerialProfiler(settings(board.address))
    (outcome,) = profiler.profile([keyword_spotter()], PLAN)
    profiler.close()
    latency = outcome.measurements[0]
    assert latency.metric is Metric.LATENCY_MS and latency.mode is Mode.SIMULATED
    assert len(latency.samples) == 3
    assert latency.conditions["inputs"] == 3
    assert "not on a microcontroller" in str(latency.conditions["assumption"])
    assert value(outcome, Metric.STORAGE_BYTES) == len(keyword_spotter().data)
    energy = profiler.describe().unavailable[Metric.ENERGY_MJ]
    assert "power monitor" in energy


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_board_that_reboots_mid_inference_loses_nothing() -> None:
    with start_tflm() as port:
        wire = Between(port.address)
        wire.start()
        killed = threading.Event()

        def kill_once(data: bytes) -> bytes:
            if data.startswith(b"infer") and not killed.is_set():
                killed.set()
                wire.pending = data  # type: ignore[attr-defined]
                threading.Timer(0.05, lambda: os.kill(children(port.process.pid)[0], signal.SIGKILL)).start()
                return b"infer 1000000 0%"
            return data

        wire.to_board = kill_once
        profiler = SerialProfiler(settings(wire.path))
        outcomes = list(profiler.profile([small(), keyword_spotter()], PLAN))
        profiler.close()
        wire.close()
    assert killed.is_set()
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert all(value(outcome, Metric.LATENCY_MS) > 0 for outcome in outcomes)


def test_a_board_that_reboots_on_one_model_costs_that_model() -> None:
    with start_tflm() as port:
        wire = Between(port.address)
        wire.start()

        def kill_small(data: bytes) -> bytes:
            if data.startswith(b"px begin %d " % len(small().data)):
                os.kill(children(port.process.pid)[0], signal.SIGKILL)
                return b""
            return data

        wire.to_board = kill_small
        profiler = SerialProfiler(settings(wire.path, attempts=2))
        first, second = profiler.profile([small(), keyword_spotter()], PLAN)
        profiler.close()
        wire.close()
    assert first.failure is not None and "started again" in first.failure
    assert second.failure is None


def test_a_board_that_falls_silent_in_a_model_is_measured_again(board: EmulatedPort) -> None:
    """One window's command is swallowed: the board seems dead, then answers the next try."""
    wire = Between(board.address)
    wire.start()
    swallowed: list[bytes] = []

    def swallow_once(data: bytes) -> bytes:
        if data.startswith(b"infer") and not swallowed:
            swallowed.append(data)
            return b""
        return data

    wire.to_board = swallow_once
    profiler = SerialProfiler(settings(wire.path))
    outcomes = list(profiler.profile([small(), keyword_spotter()], Plan(timeout_s=4.0)))
    profiler.close()
    wire.close()
    assert swallowed
    assert [outcome.failure for outcome in outcomes] == [None, None]


def test_a_model_that_takes_too_long_costs_that_model(board: EmulatedPort) -> None:
    """What follows the start of an inference is held back, as if the board were at work."""
    wire = Between(board.address)
    held: list[bytes] = []

    def work_long(data: bytes) -> bytes:
        if not held and b"m-infer-start" in data:
            before, start, after = data.partition(b"m-infer-start")
            held.append(after)
            wire.write(before + start)
            time.sleep(7.0)
            return after
        return data

    wire.to_host = work_long
    wire.start()
    profiler = SerialProfiler(settings(wire.path))
    slow, second = profiler.profile([small(), keyword_spotter()], Plan(timeout_s=5.0))
    profiler.close()
    wire.close()
    assert slow.failure is not None and "was not done" in slow.failure
    assert second.failure is None


def test_two_programs_cannot_share_a_board(board: EmulatedPort) -> None:
    first, second = Link(board.address), Link(board.address)
    first.open()
    with pytest.raises(PortGoneError, match="exclusively lock"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_replugging_under_another_name_loses_nothing(tmp_path: Path, board: EmulatedPort) -> None:
    name = tmp_path / "by-id"
    wires = [Between(board.address)]
    wires[0].start()
    name.symlink_to(wires[0].path)

    def replug() -> None:
        # The name goes first: the number of a closed terminal may soon be that of another test's.
        name.unlink()
        wires[0].close()
        time.sleep(0.3)
        wires.append(Between(board.address))
        wires[1].start()
        name.symlink_to(wires[1].path)

    profiler = SerialProfiler(settings(str(name)))
    (before,) = profiler.profile([small()], PLAN)
    thread = threading.Thread(target=replug)
    thread.start()
    (during,) = profiler.profile([keyword_spotter()], PLAN)
    thread.join(20.0)
    (after,) = profiler.profile([small()], PLAN)
    profiler.close()
    wires[1].close()
    assert [o.failure for o in (before, during, after)] == [None, None, None]


def test_a_board_that_is_gone_raises(tmp_path: Path, board: EmulatedPort) -> None:
    wire, name = Between(board.address), tmp_path / "by-id"
    wire.start()
    name.symlink_to(wire.path)
    profiler = SerialProfiler(settings(str(name), replug_s=0.2))
    profiler.describe()
    name.unlink()
    wire.close()
    with pytest.raises(TransientDeviceError):
        list(profiler.profile([small()], PLAN))
    profiler.close()


class Manager(PtyPeer):
    """An IO manager: passes `dut ...` on to a real board, and prefixes what comes back."""

    def __init__(self, board: str) -> None:
        super().__init__()
        self.link = Link(board)
        self.link.open()
        self._text = b""

    def heard(self, data: bytes) -> None:
        self._text += data
        while b"%" in self._text:
            command, _, self._text = self._text.partition(b"%")
            self.command(command.decode())

    def command(self, text: str) -> None:
        if not text.startswith("dut "):
            self.write(f"e-[Unknown command: {text}]\r\nm-ready\r\n".encode())
            return
        self.write(f"m-dut-passthrough({text[4:]})\r\nm-ready\r\n".encode())
        for line in (*self.link.command(text[4:], timeout_s=20.0).lines, "m-ready"):
            self.write(f"[dut]: {line}\r\n".encode())


def test_through_an_io_manager(tmp_path: Path) -> None:
    path = tmp_path / "held.tflite"
    path.write_bytes(small().data)
    with start_tflm(extension=False, model=path, model_name="kws01") as port:
        manager = Manager(port.address)
        manager.start()
        held = settings(manager.path, io_manager=True, holds_model_id=small().graph.model_id)
        profiler = SerialProfiler(held)
        (outcome,) = profiler.profile([small()], PLAN)
        assert isinstance(profiler.session.channel, IoManager)
        profiler.close()
        manager.close()
        manager.link.close()
    assert outcome.failure is None
    assert value(outcome, Metric.LATENCY_MS) > 0
    assert outcome.measurements[0].mode is Mode.MEASURED


def test_firmware_without_the_extension_measures_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "held.tflite"
    path.write_bytes(small().data)
    with start_tflm(extension=False, model=path, model_name="kws01") as port:
        profiler = SerialProfiler(settings(port.address, holds_model_id=small().graph.model_id))
        held, other = profiler.profile([small(), keyword_spotter()], PLAN)
        assert Metric.PEAK_MEMORY_BYTES in profiler.describe().unavailable
        assert profiler.session.identity.model == "kws01"
        profiler.close()
    assert value(held, Metric.LATENCY_MS) > 0
    assert "cannot take models" in str(other.measurements[0].unavailable)


def test_reference_firmware_gets_inputs_in_its_own_encoding(tmp_path: Path) -> None:
    """The anomaly detector's firmware takes 640 float32 values and quantizes them itself."""
    b = Builder(dtype="int8", seed=4)
    b.output(b.fully_connected(b.input((1, 640)), 8))
    held = model(b.finish())
    path = tmp_path / "ad01.tflite"
    path.write_bytes(held.data)
    with start_tflm(extension=False, model=path, model_name="ad01") as port:
        wire = Between(port.address)
        loads: list[bytes] = []

        def watch(data: bytes) -> bytes:
            loads.extend(re.findall(rb"db load \d+", data))
            return data

        wire.to_board = watch
        wire.start()
        profiler = SerialProfiler(settings(wire.path, inputs=1, holds_model_id=held.graph.model_id))
        (outcome,) = profiler.profile([held], PLAN)
        profiler.close()
        wire.close()
    assert outcome.failure is None
    assert loads == [b"db load 2560"]


def test_short_windows_on_real_boards_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "held.tflite"
    path.write_bytes(small().data)
    with start_tflm(extension=False, model=path) as port:
        profiler = SerialProfiler(settings(port.address, holds_model_id=small().graph.model_id))
        (outcome,) = profiler.profile([small()], PLAN)
        profiler.close()
    assert "shorter than MLPerf Tiny's 10 s" in outcome.notes[0]


def test_a_board_may_have_a_time_limit_of_its_own(board: EmulatedPort) -> None:
    profiler = SerialProfiler(settings(board.address, timeout_s=1e-9))
    (outcome,) = profiler.profile([small(seed=9)], PLAN)
    profiler.close()
    assert outcome.failure is not None and "the time was up" in outcome.failure


def test_names(board: EmulatedPort) -> None:
    profiler = open_device(f"serial:{board.address}")
    assert profiler.describe().name == f"serial:{board.address}"
    profiler.close()
    assert board_names()[0] == "tflm"


def test_names_of_the_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("profilers.lab")
    model = tmp_path / "kws.tflite"
    model.write_bytes(b"bytes")
    inventory = tmp_path / "lab.toml"
    inventory.write_text(
        '[devices.nucleo]\nkind = "serial"\naddress = "0483:374B"\nholds_model = "kws.tflite"\n'
        'monitor = "shield"\n[monitors.shield]\nkind = "lpm01a"\naddress = "0483:5740"\n'
    )
    monkeypatch.setenv("PERFSAGE_LAB", str(inventory))
    profiler = open_device("serial:nucleo")
    assert profiler.settings.address == "0483:374B"
    assert profiler.monitor is not None
    with pytest.raises(UnknownNameError, match="there is no board"):
        open_device("serial:other")
