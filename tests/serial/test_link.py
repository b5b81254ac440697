"""The conversation with a board over a spoilt wire: every fault is named, and the next command works."""

from __future__ import annotations

import os
import select
import socketserver
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perfsage.errors import InvalidInputError
from profilers.serial.dut import Dut, TimestampMode
from profilers.serial.emulate import EmulatedPort
from profilers.serial.errors import BoardRefusedError, DeviationError, NoAnswerError, PortGoneError
from profilers.serial.link import Link, LinkSettings
from profilers.serial.ports import parse_address, resolve
from tests.serial.peers import Between, PtyPeer

QUICK = LinkSettings(bauds=(115200,), boot_s=1.0, answer_s=1.0)


@pytest.fixture
def wire(board: EmulatedPort) -> Iterator[Between]:
    peer = Between(board.address)
    peer.start()
    yield peer
    peer.close()


@pytest.fixture
def link(wire: Between) -> Iterator[Link]:
    opened = Link(wire.path, QUICK)
    opened.open()
    yield opened
    opened.close()


def test_identity(link: Link) -> None:
    identity = Dut(link).identify()
    assert identity.vendor == "perfsage-tflm"
    assert identity.firmware == "ULPMark for tinyML Firmware V0.0.1"
    assert identity.mode is TimestampMode.PERFORMANCE


def test_noise_between_lines(link: Link, wire: Between) -> None:
    wire.to_host = lambda data: b"\x00\xfe\x80" + data.replace(b"m-", b"\xff\x00m-") + b"\x91"
    assert Dut(link).identify().vendor == "perfsage-tflm"


def test_partial_lines(link: Link, wire: Between) -> None:
    def one_by_one(data: bytes) -> bytes:
        for byte in data:
            wire.write(bytes([byte]))
        return b""

    wire.to_host = one_by_one
    assert Dut(link).identify().vendor == "perfsage-tflm"


def test_lost_characters_in_a_load(link: Link, wire: Between) -> None:
    lost: list[bytes] = []

    def lose_one(data: bytes) -> bytes:
        if not lost and data.startswith(b"db 0"):
            lost.append(data)
            return data[:9] + data[10:]
        return data

    wire.to_board = lose_one
    dut, data = Dut(link), bytes(range(100))
    dut.load(data)
    assert lost
    assert dut.read_back() == data


def test_a_lost_ready_is_read_away(link: Link, wire: Between) -> None:
    eaten: list[bytes] = []

    def eat_ready(data: bytes) -> bytes:
        if not eaten and b"m-name" in data:
            eaten.append(data)
            return data.replace(b"m-ready\r\n", b"")
        return data

    wire.to_host = eat_ready
    assert Dut(link).ask("name", r"m-name-dut-\[(.*)\]")[1] == "perfsage-tflm"
    assert eaten


def test_a_late_answer_does_not_answer_the_next_command(link: Link, wire: Between) -> None:
    late: list[bytes] = []

    def delay(data: bytes) -> bytes:
        if not late:
            late.append(data)
            time.sleep(1.3)
        return data

    wire.to_host = delay
    with pytest.raises(NoAnswerError, match="nothing came"):
        link.command("name", timeout_s=0.2)
    dut = Dut(link)
    link.resync()
    assert dut.ask("profile", r"m-model-\[(.*)\]")[1] == "none"
    assert dut.ask("name", r"m-name-dut-\[(.*)\]")[1] == "perfsage-tflm"


def test_an_answer_for_another_command(link: Link, wire: Between) -> None:
    wire.write(b"m-results-[0.5]\r\nm-ready\r\n")
    time.sleep(0.05)
    reply = link.command("name")
    assert reply.lines == ("m-results-[0.5]",)
    assert Dut(link).ask("name", r"m-name-dut-\[(.*)\]")[1] == "perfsage-tflm"


def test_a_damaged_command_is_sent_again(link: Link, wire: Between) -> None:
    seen: list[bytes] = []

    def damage(data: bytes) -> bytes:
        seen.append(data)
        return data.replace(b"name", b"nme") if len(seen) == 1 else data

    wire.to_board = damage
    assert Dut(link).ask("name", r"m-name-dut-\[(.*)\]")[1] == "perfsage-tflm"


def test_a_long_command_has_the_time_that_the_wire_takes(board: EmulatedPort) -> None:
    """At 9600 baud, 2000 characters are two seconds on the wire: the answer may not be due before."""
    wire = Between(board.address)

    def slowly(data: bytes) -> bytes:
        time.sleep(len(data) * 10 / 9600)
        return data

    wire.to_board = slowly
    wire.start()
    link = Link(wire.path, LinkSettings(bauds=(9600,), boot_s=2.0, answer_s=0.5))
    link.open()
    link.command_chars = 2048
    assert link.command("db " + "00" * 600, timeout_s=0.5).lines == ()
    link.close()
    wire.close()


@contextmanager
def served(board: EmulatedPort) -> Iterator[int]:
    """The board behind a TCP port, as a terminal server puts it there."""

    class Bridge(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            line = os.open(board.address, os.O_RDWR | os.O_NOCTTY)
            while readable := select.select([line, self.request], [], [], 30.0)[0]:
                if line in readable:
                    self.request.sendall(os.read(line, 65536))
                if self.request in readable:
                    if not (data := self.request.recv(65536)):
                        break
                    os.write(line, data)
            os.close(line)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Bridge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_over_a_socket(board: EmulatedPort) -> None:
    with served(board) as port:
        link = Link(f"socket://127.0.0.1:{port}", QUICK)
        link.open()
        dut, data = Dut(link), bytes(range(256))
        dut.load(data)
        assert dut.read_back() == data
        link.close()


def test_a_refusal_is_stable_and_names_the_boards_words(link: Link) -> None:
    with pytest.raises(BoardRefusedError, match="must be >0 bytes") as caught:
        Dut(link).ask("db load 0", "Expecting")
    assert caught.value.reason == "Command 'db load' must be >0 bytes"


def test_commands_that_would_break_the_framing(link: Link) -> None:
    for text in ("a%b", "a\r", "ü", "x" * 64):
        with pytest.raises(InvalidInputError):
            link.command(text)


class Silent(PtyPeer):
    def heard(self, data: bytes) -> None:
        pass


class Babbling(PtyPeer):
    """Sends without a line end, for ever."""

    def heard(self, data: bytes) -> None:
        self.write(b"x" * 30_000)


class AtBaud(PtyPeer):
    """A board at 9600 baud: at another rate both sides see noise. The terminal tells what is set."""

    def heard(self, data: bytes) -> None:
        if termios.tcgetattr(self.slave)[4] == termios.B9600:
            self.write(b"e-[Unknown command: " + data.strip(b"%") + b"]\r\nm-ready\r\n")
        else:
            self.write(bytes(0x80 | byte for byte in data * 3))


def test_a_board_that_never_answers() -> None:
    peer = Silent().start()
    with pytest.raises(NoAnswerError, match="nothing came") as caught:
        Link(peer.path, QUICK).open()
    assert caught.value.received == b""
    peer.close()


def test_a_board_that_sends_without_end() -> None:
    peer = Babbling().start()
    with pytest.raises((DeviationError, NoAnswerError), match="bytes came"):
        Link(peer.path, QUICK).open()
    peer.close()


def test_wrong_baud_is_named_and_the_right_one_is_found() -> None:
    peer = AtBaud().start()
    with pytest.raises(NoAnswerError, match="another baud rate"):
        Link(peer.path, QUICK).open()
    link = Link(peer.path, LinkSettings(bauds=(115200, 9600), boot_s=1.0))
    link.open()
    assert link.baud == 9600
    link.close()
    peer.close()


def test_replugged_under_another_name(tmp_path: Path, board: EmulatedPort) -> None:
    name = tmp_path / "by-id"
    first = Between(board.address)
    first.start()
    name.symlink_to(first.path)
    link = Link(str(name), QUICK)
    link.open()
    name.unlink()
    first.close()
    with pytest.raises(PortGoneError):
        for _ in range(5):
            link.command("name", timeout_s=0.2)
    second = Between(board.address)
    second.start()
    name.symlink_to(second.path)
    link.reopen(5.0)
    assert link.command("name").find("perfsage-tflm")
    link.close()
    second.close()


def test_a_port_that_stays_away_is_named(tmp_path: Path) -> None:
    link = Link(str(tmp_path / "nothing"), QUICK)
    with pytest.raises(PortGoneError, match="cannot be opened"):
        link.reopen(0.2)


def test_addresses() -> None:
    for text in ("/dev/ttyACM0", "COM3", "socket://127.0.0.1:99", "0483:374B", "0483:374b:066E", "sn:066E"):
        assert parse_address(text) == text
    for text in ("", "nucleo", "0483", "../x"):
        with pytest.raises(InvalidInputError):
            parse_address(text)
    with pytest.raises(PortGoneError, match="no serial port matches"):
        resolve("fffe:fffe:none")
