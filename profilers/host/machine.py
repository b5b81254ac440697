"""What this machine is and what state it is in, as far as the kernel says."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_CPU = Path("/sys/devices/system/cpu")


@cache
def cpu_model() -> str:
    """Return the CPU's name as /proc/cpuinfo has it."""
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "unknown CPU"


def descriptors() -> dict[str, float]:
    """Return what is known of cores, caches and clock; what the kernel does not say is left out."""
    numbers: dict[str, float] = {"cpus": float(os.cpu_count() or 1)}
    frequency = _text(_CPU / "cpu0/cpufreq/cpuinfo_max_freq")
    if frequency.isdigit():
        numbers["clock_hz"] = 1e3 * float(frequency)
    for index in sorted((_CPU / "cpu0/cache").glob("index*")):
        size, level, kind = (_text(index / name) for name in ("size", "level", "type"))
        if kind in ("Data", "Unified") and size.endswith("K") and size[:-1].isdigit():
            numbers[f"l{level}_cache_bytes"] = 1024.0 * float(size[:-1])
    return numbers


def machine_conditions(cpus: Sequence[int]) -> dict[str, str | int | float | bool]:
    """Return the CPU, the cores that are used, their governor where known, and the load just now."""
    conditions: dict[str, str | int | float | bool] = {
        "cpu_model": cpu_model(),
        "cpus": ",".join(map(str, cpus)),
        "load_average": round(os.getloadavg()[0], 2),
    }
    governor = _text(_CPU / f"cpu{cpus[0]}/cpufreq/scaling_governor")
    if governor:
        conditions["governor"] = governor
    return conditions


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
