"""Small plots as SVG text: points on logarithmic axes, and bars."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH, HEIGHT = 380, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 44
MOST_POINTS = 1500


def scatter(x: Array, y: Array, *, x_label: str, y_label: str, diagonal: bool) -> str:
    """Return points on logarithmic axes; with `diagonal`, both axes are the same and x = y is drawn."""
    if len(x) > MOST_POINTS:
        chosen = np.linspace(0, len(x) - 1, MOST_POINTS).astype(int)
        x, y = x[chosen], y[chosen]
    x_axis = _Axis(np.concatenate([x, y]) if diagonal else x, LEFT, WIDTH - RIGHT)
    y_axis = _Axis(np.concatenate([x, y]) if diagonal else y, HEIGHT - BOTTOM, TOP)
    parts = [_frame(x_axis, y_axis, x_label, y_label)]
    if diagonal:
        ends = [axis.place(value) for value in x_axis.ends for axis in (x_axis, y_axis)]
        parts.append('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="ideal"/>'.format(*ends))
    points = (
        f'<circle cx="{x_axis.place(a):.1f}" cy="{y_axis.place(b):.1f}" r="2.2"/>'
        for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    return _svg(f"{y_label} against {x_label}", [*parts, *points], HEIGHT)


def bars(names: Sequence[str], medians: Sequence[float], highs: Sequence[float], *, label: str) -> str:
    """Return a bar a name: solid up to the median, faint up to the high value."""
    step, left = 22, 185
    height = TOP + step * len(names) + 40
    top = max([*highs, 1e-9])
    scale = (WIDTH - left - 46) / top
    parts = []
    for row, (name, median, high) in enumerate(zip(names, medians, highs, strict=True)):
        y = TOP + row * step
        text = name if len(name) <= 28 else name[:27] + "…"
        parts += [
            f'<text x="{left - 6}" y="{y + 14}" text-anchor="end">{html.escape(text)}</text>',
            f'<rect x="{left}" y="{y + 3}" width="{high * scale:.1f}" height="14" class="faint"/>',
            f'<rect x="{left}" y="{y + 3}" width="{median * scale:.1f}" height="14"/>',
            f'<text x="{left + high * scale + 4:.1f}" y="{y + 14}">{median:.1f}</text>',
        ]
    parts.append(f'<text x="8" y="{height - 12}">{html.escape(label)}</text>')
    return _svg(label, parts, height)


class _Axis:
    """A logarithmic axis over the values, from pixel `begin` to pixel `end`."""

    def __init__(self, values: Array, begin: int, end: int) -> None:
        low, high = float(values.min()), float(values.max())
        self.begin, self.end = begin, end
        self.low, self.high = math.log10(low / 1.1), math.log10(high * 1.1)

    @property
    def ends(self) -> tuple[float, float]:
        return 10**self.low, 10**self.high

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return powers of ten, or 1, 2, 5 times these where there are few."""
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        tens = [10.0**power for power in powers if self.low <= power <= self.high]
        if len(tens) >= 3:
            return tens[:: math.ceil(len(tens) / 6)]
        finer = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        return [value for value in finer if self.low <= math.log10(value) <= self.high]


def _frame(x_axis: _Axis, y_axis: _Axis, x_label: str, y_label: str) -> str:
    base, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    parts = [
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - RIGHT - LEFT}" height="{base - TOP}" class="frame"/>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{html.escape(x_label)}</text>",
        f'<text transform="translate(13,{middle}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(y_label)}</text>",
    ]
    for value in x_axis.ticks():
        parts.append(
            f'<text x="{x_axis.place(value):.1f}" y="{base + 16}" text-anchor="middle">{value:.3g}</text>'
        )
    for value in y_axis.ticks():
        y = y_axis.place(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    return "".join(parts)


def _svg(title: str, parts: Sequence[str], height: int) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}">{"".join(parts)}</svg>'
    )
