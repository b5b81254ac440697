"""One conversation with a board: a command ends with `%`, an answer ends with the line `m-ready`.

At most one command is outstanding. After any trouble the link is out of step; `resync` brings it back with
a command that no firmware knows, whose own name comes back in the error line and so proves that everything
older has been read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from perfsage.errors import InvalidInputError
from profilers.serial.errors import DeviationError, NoAnswerError, PortGoneError, RebootedError
from profilers.serial.ports import parse_address, pyserial, resolve

TERMINATOR = "%"
READY = "m-ready"
BOOT_LINES = ("m-timestamp-mode-", "m-init-done")
PLAIN_COMMAND_CHARS = 64
"""Reference firmware has an 80-byte buffer; the official runner never sends more than 64 at once."""
BITS_PER_CHAR = 10
"""8N1: at 9600 baud a command of 2000 characters is two seconds on its way."""
SHOWN_CHARS = 40
REPLY_LIMIT_BYTES = 4 << 20
LINE_LIMIT_BYTES = 64 << 10
UNPRINTABLE = re.compile(rb"[^\x20-\x7e\t]")
NONCES = count(1)


@dataclass(frozen=True, slots=True)
class Reply:
    """The lines that answered `command`, without the final `m-ready`; `received` are the raw bytes."""

    command: str
    lines: tuple[str, ...]
    received: bytes = b""

    def find(self, pattern: str) -> re.Match[str] | None:
        """Return the first match of `pattern` in any line."""
        return next((m for line in self.lines if (m := re.search(pattern, line))), None)

    def find_all(self, pattern: str) -> list[re.Match[str]]:
        """Return the match of `pattern` in every line that has one."""
        return [m for line in self.lines if (m := re.search(pattern, line))]

    @property
    def refusal(self) -> str | None:
        """The text of the first `e-[...]` line."""
        found = self.find(r"(?<![a-z])e-\[(.*)\]")
        return found[1] if found else None


class Channel(Protocol):
    """What a device-under-test driver talks through: a link, or an IO manager that passes it on."""

    name: str
    command_chars: int

    def command(self, text: str, timeout_s: float = 2.0) -> Reply:
        """Send one command and return its answer."""
        ...

    def resync(self) -> None:
        """Bring the conversation back in step."""
        ...

    def reopen(self, timeout_s: float = 10.0) -> None:
        """Close the port and open it again, wherever the board is now."""
        ...

    def close(self) -> None:
        """Release the port."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How to reach a board. `bauds` are tried in order: 115200 in performance mode, 9600 in energy mode."""

    bauds: Sequence[int] = (115200, 9600)
    boot_s: float = 5.0
    """A board resets when its port opens; it may take this long to boot."""
    answer_s: float = 2.0
    on_line: Callable[[str, str], None] | None = field(default=None, compare=False)
    """Called with `>` or `<` and the text of every line, for a log."""


class Link:
    """A serial port with a board behind it."""

    def __init__(self, address: str, settings: LinkSettings | None = None) -> None:
        self.name = parse_address(address)
        self.settings = settings or LinkSettings()
        self.command_chars = PLAIN_COMMAND_CHARS
        self.baud = self.settings.bauds[0]
        self.boot_lines: tuple[str, ...] = ()
        self._port: Any = None
        self._buffer = bytearray()
        self._received = bytearray()

    def open(self) -> None:
        """Open the port and agree with the board, at the first of the bauds at which it answers."""
        failure: Exception | None = None
        for baud in self.settings.bauds:
            self._open_port(baud)
            try:
                self.resync(self.settings.boot_s)
            except (NoAnswerError, DeviationError) as error:
                failure = failure or error
                self.close()
                continue
            self.baud = baud
            return
        assert failure is not None
        raise failure

    def command(self, text: str, timeout_s: float | None = None) -> Reply:
        """Send `text` and return the answer; LineError names what went wrong and the bytes that came."""
        if len(text) >= self.command_chars or not text.isascii() or re.search(r"[%\r\n\0]", text):
            raise InvalidInputError(f"{text[:SHOWN_CHARS]!r} cannot be sent as one command", where=self.name)
        self._received.clear()
        self._write(text + TERMINATOR)
        self._log(">", text)
        wire_s = len(text) * BITS_PER_CHAR / self.baud
        return self._reply(text, time.monotonic() + wire_s + (timeout_s or self.settings.answer_s))

    def follow(self, command: str, last: str, timeout_s: float) -> Reply:
        """Return further lines that belong to `command`, up to the line `last`."""
        return self._reply(command, time.monotonic() + timeout_s, last)

    def resync(self, timeout_s: float | None = None) -> None:
        """Read everything old away, until the board answers a fresh nonsense command by its name."""
        deadline = time.monotonic() + (timeout_s or 2 * self.settings.answer_s)
        boot: list[str] = []
        self._received.clear()
        while True:
            nonce = f"sync{next(NONCES)}"
            self._write(nonce + TERMINATOR)
            step = min(deadline, time.monotonic() + max(0.5, self.settings.answer_s / 4))
            if self._await_nonce(nonce, step, boot):
                self.boot_lines = tuple(boot) or self.boot_lines
                return
            if time.monotonic() >= deadline:
                raise self._no_answer("the board does not answer")

    def reopen(self, timeout_s: float = 10.0) -> None:
        """Close and open again; waits for an unplugged port to come back, maybe under another path."""
        self.close()
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.open()
            except PortGoneError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        """Release the port. Calling it twice is harmless."""
        if self._port is not None:
            self._port.close()
        self._port = None
        self._buffer.clear()

    def _open_port(self, baud: int) -> None:
        self.close()
        serial = pyserial()
        path = resolve(self.name)
        try:
            # Two programs on one port would each read half of the answers; URLs have nothing to lock.
            exclusive = None if "://" in path else True
            self._port = serial.serial_for_url(
                path, baudrate=baud, timeout=0.02, write_timeout=5.0, exclusive=exclusive
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise PortGoneError(
                f"the port {path} cannot be opened: {error}",
                where=self.name,
                hint="Plug the board in, and see that no other program holds the port.",
            ) from error

    def _write(self, text: str) -> None:
        self._guard(lambda port: port.write(text.encode("ascii")))

    def _guard(self, action: Callable[[Any], Any]) -> Any:
        if self._port is None:
            raise self._gone("the port is closed")
        try:
            return action(self._port)
        except (pyserial().SerialException, OSError, TypeError) as error:
            # TypeError: pyserial's read on a descriptor that another thread closed.
            raise self._gone(f"the port vanished: {error}") from error

    def _reply(self, command: str, deadline: float, last: str = READY) -> Reply:
        lines: list[str] = []
        while True:
            line = self._line(deadline)
            if line is None:
                raise self._no_answer(f"no {last} after {command[:SHOWN_CHARS]!r}")
            if line.endswith(last):
                return Reply(command, tuple(lines), bytes(self._received))
            if line.startswith(BOOT_LINES):
                raise self._rebooted(command, line)
            lines.append(line)

    def _rebooted(self, command: str, line: str) -> RebootedError:
        self.boot_lines = (line,)
        return RebootedError(
            f"the board started again during {command[:SHOWN_CHARS]!r}",
            received=bytes(self._received),
            where=self.name,
            hint="Check its power supply and its memory; the model may be too large for it.",
        )

    def _await_nonce(self, nonce: str, deadline: float, boot: list[str]) -> bool:
        seen = False
        while (line := self._line(deadline)) is not None:
            if line.startswith(BOOT_LINES):
                boot.append(line)
            seen = seen or nonce in line
            if seen and line.endswith(READY):
                return True
        return False

    def _line(self, deadline: float) -> str | None:
        """Return the next line, stripped of noise, or None when the deadline passes first."""
        while (end := self._buffer.find(b"\n")) < 0:
            if time.monotonic() >= deadline:
                return None
            self._read()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        text = UNPRINTABLE.sub(b"", line).decode("ascii").strip()
        self._log("<", text)
        return text

    def _read(self) -> None:
        chunk: bytes = self._guard(lambda port: port.read(max(1, min(port.in_waiting, 65536))))
        self._buffer += chunk
        self._received += chunk
        if len(self._buffer) > LINE_LIMIT_BYTES or len(self._received) > REPLY_LIMIT_BYTES:
            received = bytes(self._received)
            self._buffer.clear()
            self._received.clear()
            raise DeviationError(
                "the board sends without end", received=received, where=self.name, hint=self._baud_hint()
            )

    def _no_answer(self, what: str) -> NoAnswerError:
        return NoAnswerError(
            f"{what} at {self.baud} baud",
            received=bytes(self._received),
            where=self.name,
            hint=self._baud_hint(),
        )

    def _gone(self, what: str) -> PortGoneError:
        received = bytes(self._received)
        return PortGoneError(what, received=received, where=self.name, hint="Plug the board in again.")

    def _baud_hint(self) -> str:
        noise = UNPRINTABLE.findall(bytes(self._received).translate(None, b"\r\n"))
        if len(noise) > len(self._received) // 4:
            return "The bytes are not text: the board speaks at another baud rate. Set `baud`."
        return "Check that the firmware speaks the MLPerf Tiny protocol, and that RX and TX are not swapped."

    def _log(self, direction: str, text: str) -> None:
        if self.settings.on_line is not None:
            self.settings.on_line(direction, text)
