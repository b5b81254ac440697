"""What goes wrong on a serial line, each error with the bytes that came."""

from __future__ import annotations

from perfsage.errors import StableDeviceError, TransientDeviceError, UnsupportedModelError

SHOWN_BYTES = 120


def shown(received: bytes) -> str:
    """Return the last bytes that came, readable and short."""
    if not received:
        return "nothing came"
    tail = received[-SHOWN_BYTES:]
    cut = "..." if len(received) > SHOWN_BYTES else ""
    return f"{len(received)} bytes came: {cut}{tail!r}"


class LineError(TransientDeviceError):
    """The conversation with a board broke; `received` holds the bytes since the command."""

    def __init__(self, what: str, *, received: bytes = b"", where: str, hint: str) -> None:
        self.received = received
        super().__init__(f"{what}; {shown(received)}", where=where, hint=hint)


class NoAnswerError(LineError):
    """The board did not finish its answer in time."""


class DeviationError(LineError):
    """The board answered something that the protocol does not allow here."""


class RebootedError(LineError):
    """The board started again in the middle of a conversation."""


class PortGoneError(LineError):
    """The port is not there, or vanished while in use."""


class BoardRefusedError(StableDeviceError):
    """The board understood the command and refused it; `reason` is its own text."""

    def __init__(self, command: str, reason: str, *, where: str, hint: str) -> None:
        self.reason = reason
        super().__init__(f"the board refused {command!r}: {reason}", where=where, hint=hint)


class TooSlowError(StableDeviceError):
    """One inference takes longer than a model may; the board is at it still."""


class BoardCannotRunError(UnsupportedModelError):
    """The board received the model and cannot run it; `operator` names the missing operator, if one is."""

    def __init__(self, reason: str, *, operator: str | None, where: str, hint: str) -> None:
        self.reason = reason
        self.operator = operator
        super().__init__(f"the board cannot run this model: {reason}", where=where, hint=hint)
