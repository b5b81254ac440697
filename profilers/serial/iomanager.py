"""The MLPerf Tiny IO manager: a second board that passes commands on to an isolated device under test.

`dut CMD` answers `m-dut-passthrough(CMD)` and `m-ready`; then the device's own lines come, each behind
`[dut]: `, up to `[dut]: m-ready`. The two are apart so that no current flows past the power monitor.
"""

from __future__ import annotations

from profilers.serial.errors import DeviationError
from profilers.serial.link import PLAIN_COMMAND_CHARS, READY, Link, Reply

PREFIX = "[dut]: "
PASS_ON = "dut "


class IoManager:
    """Talks to a device under test through an IO manager; the same interface as a link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = f"{link.name} (IO manager)"
        self.command_chars = PLAIN_COMMAND_CHARS - len(PASS_ON)

    def open(self) -> None:
        """Open the IO manager's port."""
        self.link.open()
        self.resync()

    def command(self, text: str, timeout_s: float = 2.0) -> Reply:
        """Pass one command on and return the device's answer."""
        passed = self.link.command(PASS_ON + text, timeout_s=timeout_s)
        if passed.find("m-dut-passthrough") is None:
            raise DeviationError(
                "the IO manager did not pass the command on",
                received=passed.received,
                where=self.name,
                hint="See that an IO manager is at this port, and not the board itself.",
            )
        answer = self.link.follow(text, PREFIX + READY, timeout_s)
        lines = tuple(line.removeprefix(PREFIX) for line in answer.lines if line.startswith(PREFIX))
        return Reply(text, lines, answer.received)

    def resync(self) -> None:
        """Bring the IO manager in step, then the device behind it."""
        self.link.resync()
        self.command("name", timeout_s=self.link.settings.boot_s)

    def reopen(self, timeout_s: float = 10.0) -> None:
        """Open the port again."""
        self.link.reopen(timeout_s)
        self.resync()

    def close(self) -> None:
        """Release the port."""
        self.link.close()
