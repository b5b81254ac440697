"""Numbers as people read them."""

from __future__ import annotations

from perfsage.metrics import Metric


def figure(value: float, metric: Metric) -> str:
    """Return a value with its unit; four significant digits, bytes as kB or MB (powers of ten)."""
    if metric.unit == "bytes":
        return bytes_figure(value)
    return f"{value:.4g} {metric.unit}"


def bytes_figure(value: float) -> str:
    """Return a number of bytes: exact below 10 kB, then with four significant digits."""
    if value < 10_000:
        return f"{value:,.0f} bytes"
    scale, unit = (1e6, "MB") if value >= 1e6 else (1e3, "kB")
    return f"{value / scale:.4g} {unit}"


def count_figure(value: int) -> str:
    """Return a count with its magnitude: 12,345 or 3.457 M."""
    if value < 100_000:
        return f"{value:,}"
    scale, unit = next((s, u) for s, u in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= s)
    return f"{value / scale:.4g} {unit}"
