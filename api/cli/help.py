"""The examples at the end of every command's help."""

from __future__ import annotations


def examples(*lines: str) -> str:
    """Return an epilog that shows `lines` unwrapped (the escape keeps the line breaks)."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
