"""The CPU package's energy counter, where Linux lets this user read it."""

from __future__ import annotations

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


def energy_counters(root: Path = POWERCAP) -> list[Path]:
    """Return the counters of whole CPU packages that can be read, one a socket."""
    return [path for path in sorted(root.glob("intel-rapl:?/energy_uj")) if _read(path) is not None]


def read_energy_uj(root: Path = POWERCAP) -> int | None:
    """Return microjoules used by all packages since an arbitrary start, None where that cannot be read."""
    readings = [reading for path in energy_counters(root) if (reading := _read(path)) is not None]
    return sum(readings) if readings else None


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
