"""Scripted peers behind real pseudo-terminals: an instrument or a board whose every byte a test decides.

No LPM01A, PPK2 or faulty board can be had in a test; these stand for them, and say only what the real ones
are documented to say.
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

END_S = 10.0
"""No thread of a test may take longer to end."""


def write_while(going: Callable[[], bool], descriptor: int, data: bytes) -> None:
    """Write to a terminal that nobody may be reading, without ever waiting past `going`."""
    os.set_blocking(descriptor, False)
    while data and going():
        try:
            if select.select([], [descriptor], [], 0.02)[1]:
                data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            continue
        except OSError:
            return


def ended(thread: threading.Thread) -> None:
    """Wait for a thread that has been told to end."""
    thread.join(END_S)
    assert not thread.is_alive(), f"{thread.name} does not end"


class PtyPeer:
    """One end of a pseudo-terminal, served by a thread; `path` is the other end."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        self._open = True
        self._threads: list[threading.Thread] = []

    def start(self) -> PtyPeer:
        self.run(self._serve)
        return self

    def run(self, work: Callable[[], None]) -> threading.Thread:
        """Run `work` in a thread that ends when `_open` turns false."""
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()
        return self._threads[-1]

    def write(self, data: bytes) -> None:
        write_while(lambda: self._open, self.master, data)

    def close(self) -> None:
        """Unplug: the other end reads an error from now on."""
        if not self._open:
            return
        self._open = False
        for thread in self._threads:
            ended(thread)
        os.close(self.slave)
        os.close(self.master)

    def _serve(self) -> None:
        while self._open:
            try:
                if select.select([self.master], [], [], 0.02)[0] and (data := os.read(self.master, 65536)):
                    self.heard(data)
            except OSError:
                return

    def heard(self, data: bytes) -> None:
        raise NotImplementedError


class Between(PtyPeer):
    """Sits on the wire between a link and a real board, and spoils what passes."""

    def __init__(self, board: str) -> None:
        super().__init__()
        self.board = os.open(board, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.board)
        self.to_host: Callable[[bytes], bytes] = lambda data: data
        self.to_board: Callable[[bytes], bytes] = lambda data: data
        self.run(self._return)

    def heard(self, data: bytes) -> None:
        if spoilt := self.to_board(data):
            write_while(lambda: self._open, self.board, spoilt)

    def close(self) -> None:
        super().close()
        os.close(self.board)

    def _return(self) -> None:
        while self._open:
            try:
                if select.select([self.board], [], [], 0.02)[0] and (data := os.read(self.board, 65536)):
                    self.write(self.to_host(data))
            except OSError:
                return


class PowerShield(PtyPeer):
    """An LPM01A of constant power; edges come from a board's pipe, as from its pin through D7."""

    def __init__(self, power_w: float, edges: Path | None = None, rate_hz: int = 1000) -> None:
        super().__init__()
        self.power_w, self.rate_hz = power_w, rate_hz
        self.commands: list[str] = []
        self.refuse: set[str] = set()
        self.drop_after: int | None = None
        self.stall_after: int | None = None
        self.break_line_at: int | None = None
        self.stall_once = False
        self.lose_events = False
        """Skip a number before each event, as when one was lost."""
        self.edges = os.open(edges, os.O_RDWR | os.O_NONBLOCK) if edges else None
        self._text = b""
        self._stop = threading.Event()
        self._stream: threading.Thread | None = None

    def heard(self, data: bytes) -> None:
        self._text += data
        while b"\r\n" in self._text:
            line, _, self._text = self._text.partition(b"\r\n")
            self.command(line.decode())

    def command(self, text: str) -> None:
        self.commands.append(text)
        if text in self.refuse:
            self.write(f"error {text}\r\nError detail: not now\r\nPowerShield > ".encode())
            return
        if text == "stop":
            self._stop.set()
            if self._stream is not None:
                ended(self._stream)
            self._stream = None
            self.write(b"\r\nPowerShield > ack stop\r\nAcquisition completed\r\nPowerShield > ")
            return
        self.write(f"PowerShield > ack {text}\r\n".encode())
        if text == "start":
            if self.stall_once and self.commands.count("start") > 1:
                self.stall_after = None
            self._stop.clear()
            self._stream = self.run(self._samples)

    def _samples(self) -> None:
        count, event, begun = 0, 0, time.monotonic()
        while self._open and not self._stop.wait(0.005):
            for _ in self._edge_bytes():
                event += 2 if self.lose_events else 1
                self.write(f"event {event % 100:02d} ris\r\n".encode())
            due = int((time.monotonic() - begun) * self.rate_hz)
            while count < due:
                count += 1
                if self.stall_after is not None and count > self.stall_after:
                    continue
                if self.drop_after is not None and count > self.drop_after and count % 10 == 0:
                    self._mark(count)
                    continue
                self.write(self._sample(count))
                self._mark(count)

    def _mark(self, count: int) -> None:
        if count % 1000 == 0:
            self.write(f"TimeStamp: {count // 1000:03d}s {count % 1000:03d}ms, buff 05%\r\n".encode())

    def _sample(self, count: int) -> bytes:
        mantissa, exponent = f"{self.power_w / self.rate_hz:.3e}".split("e")
        digits = mantissa.replace(".", "")
        end = f"{int(exponent) - 3:+03d}"
        if count == self.break_line_at:
            return f"{digits}\r\n{end}\r\n".encode()
        return f"{digits}{end}\r\n".encode()

    def _edge_bytes(self) -> bytes:
        if self.edges is None:
            return b""
        try:
            return os.read(self.edges, 64)
        except BlockingIOError:
            return b""
