"""What a check of the inventory finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perfsage.errors import PerfsageError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: `ok`, `warning` or `error`, and what to do about it."""

    subject: str
    check: str
    state: str
    message: str
    hint: str = ""


def tried(subject: str, check: str, action: Callable[[], str]) -> Finding:
    """Return what an action found out, or why it could not."""
    try:
        return Finding(subject, check, "ok", action())
    except PerfsageError as error:
        return failed(subject, check, error)
    except Exception as error:  # a driver's own error must not end the other checks
        return Finding(subject, check, "error", f"{type(error).__name__}: {error}", "Check its driver.")


def failed(subject: str, check: str, error: PerfsageError) -> Finding:
    """Return an error as a finding, with what to do about it."""
    place = f" ({error.where})" if error.where else ""
    return Finding(subject, check, "error", f"{error.what}{place}", error.hint or "")
