"""One phone may have several entries, such as its CPU and its GPU: within a process they take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from perfsage.errors import TransientDeviceError

_turns: dict[str, Turn] = {}
_making = threading.Lock()


class Turn:
    """Who holds a phone in this process. A holder keeps the phone until another one wants it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._in_use = threading.Lock()
        self._let_go: Callable[[], None] | None = None

    @contextmanager
    def taken(self, let_go: Callable[[], None], patience_s: float) -> Iterator[None]:
        """Use the phone within this block; `let_go` closes it when somebody else's turn begins.

        TransientDeviceError where the one before does not come to an end within `patience_s`.
        """
        if not self._in_use.acquire(timeout=patience_s):
            raise TransientDeviceError(
                "another device of the inventory is measuring on this phone",
                where=f"phone {self._address}",
                hint="Measure them one after the other.",
            )
        try:
            before, self._let_go = self._let_go, let_go
            if before is not None and before != let_go:
                before()
            yield
        finally:
            self._in_use.release()


def turn_of(address: str) -> Turn:
    """Return the turns of the phone at an address, as the inventory writes it."""
    with _making:
        return _turns.setdefault(address, Turn(address))
