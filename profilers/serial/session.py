"""A board that stays reachable: opened once, brought back after reboots, noise and replugging."""

from __future__ import annotations

from collections.abc import Callable

from profilers.serial.dut import Dut, Identity, TimestampMode
from profilers.serial.errors import LineError
from profilers.serial.extension import Extension
from profilers.serial.iomanager import IoManager
from profilers.serial.link import Link, LinkSettings
from profilers.serial.settings import BoardSettings


class Session:
    """The conversation with one board; `dut`, `identity` and `extension` are there once it is open.

    `supply` powers a board that a power monitor feeds: before that, nobody answers.
    """

    def __init__(
        self,
        settings: BoardSettings,
        *,
        on_line: Callable[[str, str], None] | None = None,
        supply: Callable[[], None] | None = None,
    ) -> None:
        self.settings = settings
        self._supply = supply or (lambda: None)
        link_settings = LinkSettings(bauds=settings.bauds, boot_s=settings.boot_s, on_line=on_line)
        self.link = Link(settings.address, link_settings)
        self.channel: Link | IoManager = IoManager(self.link) if settings.io_manager else self.link
        self.dut = Dut(self.channel)
        self.extension: Extension | None = None
        self._identity: Identity | None = None

    def open(self) -> None:
        """Open the port and learn who is there; does nothing when that is known."""
        if self._identity is not None:
            return
        self._supply()
        self.channel.open()
        self._learn()

    @property
    def identity(self) -> Identity:
        """Who answers."""
        self.open()
        assert self._identity is not None
        return self._identity

    @property
    def energy_mode(self) -> bool:
        """Whether the board's timestamps are edges on a pin."""
        return self.identity.mode is TimestampMode.ENERGY

    def recover(self) -> None:
        """Bring the conversation back: in step if the port is still there, else by opening it again."""
        self._supply()
        try:
            self.channel.resync()
        except LineError:
            self.channel.reopen(self.settings.replug_s)
        self._learn()

    def close(self) -> None:
        """Release the port. Calling it twice is harmless."""
        self.channel.close()
        self._identity = None
        self.extension = None

    def _learn(self) -> None:
        self._identity = self.dut.identify()
        self.extension = Extension.find(self.dut)
