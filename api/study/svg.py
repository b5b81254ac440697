"""Charts as SVG: axes, dots, lines and bars, drawn without a plotting library: reports stay small."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

# Distinguishable with every common colour blindness: Okabe and Ito, 2008, then shades of them.
PALETTE = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b4a8a", "#8c6d31", "#7f7f7f",
    "#a50f15", "#1b7837", "#2f4b7c", "#b35806", "#41b6c4",
)  # fmt: skip
INK, FAINT, GRID = "#222", "#667", "#e4e6ea"


def colour(place: int) -> str:
    """Return the colour of the series at `place`."""
    return PALETTE[place % len(PALETTE)]


@dataclass(frozen=True, slots=True)
class Axis:
    """A numeric axis from `low` to `high`, logarithmic or linear."""

    label: str
    low: float
    high: float
    log: bool = True
    whole: bool = False
    """Whether only whole numbers are marked."""

    @classmethod
    def over(cls, label: str, values: Sequence[float], *, log: bool = True, zero: bool = False) -> Axis:
        """Return an axis that holds `values` with a little room."""
        low, high = min(values), max(values)
        if log:
            room = max((high / low) ** 0.04, 1.08)
            return cls(label, low / room, high * room)
        low = min(low, 0.0) if zero else low
        room = 0.05 * (high - low) or 1.0
        return cls(label, low if zero and low == 0 else low - room, high + room, False)

    def place(self, value: float) -> float:
        """Return where a value stands, 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round values: powers of ten with 2 and 5 where there is room, or steps of 1, 2, 5."""
        if self.log and self.high / self.low > 3:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            parts = (1, 2, 5) if last - first <= 3 else (1,) if last - first <= 8 else ()
            every = range(first, last + 1) if parts else range(first, last + 1, 2)
            found = [p * 10.0**power for power in every for p in parts or (1,)]
        else:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 3))
            step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (m * step) <= 7)
            found = [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        wanted = [value for value in found if self.low <= value <= self.high]
        return [value for value in wanted if not self.whole or value == int(value)]


@dataclass(slots=True)
class Chart:
    """A canvas in pixels with a plotting area between margins."""

    width: int = 760
    height: int = 420
    left: int = 64
    right: int = 16
    top: int = 14
    bottom: int = 48
    parts: list[str] = field(default_factory=list)

    def x(self, axis: Axis, value: float) -> float:
        """Return the pixel of a value along the horizontal axis."""
        return self.left + axis.place(value) * (self.width - self.left - self.right)

    def y(self, axis: Axis, value: float) -> float:
        """Return the pixel of a value along the vertical axis."""
        return self.height - self.bottom - axis.place(value) * (self.height - self.top - self.bottom)

    def line(
        self, points: Sequence[tuple[float, float]], stroke: str, *, width: float = 1, dash: str = ""
    ) -> None:
        """Draw through pixels."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"{dashed}/>'
        )

    def text(
        self, x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, fill: str = INK,
        turn: bool = False,
    ) -> None:  # fmt: skip
        """Write at a pixel, turned by a quarter where asked."""
        turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{turned}>'
            f"{escape(text)}</text>"
        )

    def dot(
        self, x: float, y: float, fill: str, title: str, *, hollow: bool = False, size: float = 4
    ) -> None:
        """Draw a mark with a tooltip; hollow marks are values that were not measured."""
        paint = f'fill="#fff" stroke="{fill}" stroke-width="1.6"' if hollow else f'fill="{fill}"'
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" {paint}><title>{escape(title)}</title></circle>'
        )

    def bar(self, x: float, y: float, width: float, height: float, fill: str, title: str) -> None:
        """Draw a rectangle with a tooltip."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{fill}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def horizontal(self, axis: Axis) -> None:
        """Draw the horizontal axis with its grid."""
        foot = self.height - self.bottom
        for value in axis.ticks():
            x = self.x(axis, value)
            self.line([(x, self.top), (x, foot)], GRID)
            self.text(x, foot + 15, short(value), anchor="middle", fill=FAINT)
        middle = (self.left + self.width - self.right) / 2
        self.text(middle, foot + 34, axis.label, anchor="middle")

    def vertical(self, axis: Axis) -> None:
        """Draw the vertical axis with its grid."""
        for value in axis.ticks():
            y = self.y(axis, value)
            self.line([(self.left, y), (self.width - self.right, y)], GRID)
            self.text(self.left - 6, y + 4, short(value), anchor="end", fill=FAINT)
        self.text(14, (self.top + self.height - self.bottom) / 2, axis.label, anchor="middle", turn=True)

    def render(self, label: str) -> str:
        """Return the SVG element."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" role="img" '
            f'aria-label="{escape(label, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
            + "".join(self.parts)
            + "</svg>"
        )


def short(value: float) -> str:
    """Return a number as axes show it: 20k, 1.5M, 0.003."""
    for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:g}{unit}"
    return f"{value:.3g}"


def legend(entries: Sequence[tuple[str, str]], extra: Sequence[tuple[str, str, bool]] = ()) -> str:
    """Return a legend of (name, colour) as HTML; `extra` adds (name, colour, hollow)."""
    items = [(name, paint, False) for name, paint in entries] + list(extra)
    return "<p class=legend>" + "".join(
        f'<span><svg width="11" height="11"><circle cx="5.5" cy="5.5" r="4" stroke="{paint}" '
        f'stroke-width="1.6" fill="{"#fff" if hollow else paint}"/></svg>{escape(name)}</span>'
        for name, paint, hollow in items
    ) + "</p>"  # fmt: skip


def _room(names: Sequence[str]) -> int:
    """Return the pixels that the longest name beside an axis needs; the same for names of usual length."""
    return min(max(188, 16 + round(6.4 * max(map(len, names), default=0))), 320)


@dataclass(frozen=True, slots=True)
class Mark:
    """A value of a series in a row of a dot plot, or a point of a scatter plot."""

    x: float
    y: float
    series: str
    title: str
    hollow: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A range in a row of a dot plot."""

    low: float
    high: float
    series: str


def dot_plot(
    label: str,
    rows: Sequence[str],
    marks: Sequence[tuple[str, Mark]],
    colours: dict[str, str],
    *,
    spans: Sequence[tuple[str, Span]] = (),
) -> str:
    """Return a chart with one line a row and a logarithmic horizontal axis."""
    chart = Chart(height=62 + 19 * len(rows), left=_room(rows))
    ends = [end for _, span in spans for end in (span.low, span.high)]
    axis = Axis.over(label, [*ends, *(mark.x for _, mark in marks)])
    chart.horizontal(axis)
    heights = {row: chart.top + 19 * (place + 0.5) for place, row in enumerate(rows)}
    for row, y in heights.items():
        chart.text(chart.left - 8, y + 4, row, anchor="end")
        chart.line([(chart.left, y), (chart.width - chart.right, y)], GRID)
    for row, span in spans:
        places = [(chart.x(axis, end), heights[row]) for end in (span.low, span.high)]
        chart.line(places, colours[span.series], width=2)
    for row, mark in marks:
        chart.dot(chart.x(axis, mark.x), heights[row], colours[mark.series], mark.title, hollow=mark.hollow)
    return chart.render(label)


def scatter(
    x: Axis,
    y: Axis,
    marks: Sequence[Mark],
    colours: dict[str, str],
    *,
    curves: Sequence[tuple[Sequence[tuple[float, float]], str, str]] = (),
    size: tuple[int, int] = (760, 420),
    dot: float = 4,
) -> str:
    """Return a scatter plot; curves are (points in data units, colour, dash), named marks get their name."""
    chart = Chart(width=size[0], height=size[1])
    chart.horizontal(x)
    chart.vertical(y)
    for points, paint, dash in curves:
        chart.line([(chart.x(x, a), chart.y(y, b)) for a, b in points], paint, width=1.4, dash=dash)
    places = [(chart.x(x, mark.x), chart.y(y, mark.y)) for mark in marks]
    for mark, place in zip(marks, places, strict=True):
        chart.dot(*place, colours[mark.series], mark.title, hollow=mark.hollow, size=dot)
    taken: list[_Box] = []
    for mark, place in zip(marks, places, strict=True):
        if mark.name and (spot := _free_spot(chart, mark.name, place, places, taken)):
            taken.append(spot)
            chart.text(spot.left, spot.foot - 2, mark.name, size=9, fill=FAINT)
    return chart.render(f"{y.label} against {x.label}")


class _Box(NamedTuple):
    """Where a name stands, in pixels."""

    left: float
    head: float
    right: float
    foot: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.head < other.foot
            and other.head < self.foot
        )

    def covers(self, point: tuple[float, float]) -> bool:
        reach = 3  # most of a dot's radius: a name may touch it
        return (
            self.left - reach < point[0] < self.right + reach
            and self.head - reach < point[1] < self.foot + reach
        )


def _free_spot(
    chart: Chart,
    name: str,
    place: tuple[float, float],
    dots: Sequence[tuple[float, float]],
    taken: Sequence[_Box],
) -> _Box | None:
    """Return where beside a dot its name covers neither a dot nor a name, None where it would."""
    wide, high = 5.1 * len(name), 10.0
    for left in (place[0] + 7, place[0] - 7 - wide):
        for head in (place[1] - high - 2, place[1] - high / 2, place[1] + 2):
            box = _Box(left, head, left + wide, head + high)
            inside = box.left > chart.left and box.right < chart.width and box.head > 0
            if inside and not any(map(box.covers, dots)) and not any(map(box.meets, taken)):
                return box
    return None


def bars(
    label: str, rows: Sequence[tuple[str, Sequence[tuple[float, str, str]]]], *, show: Callable[[float], str]
) -> str:
    """Return horizontal bars, each of stacked (value, colour, title); the sum stands at the end."""
    chart = Chart(height=60 + 20 * len(rows), left=_room([name for name, _ in rows]), right=64)
    axis = Axis.over(label, [0.0, *(sum(v for v, _, _ in parts) for _, parts in rows)], log=False, zero=True)
    chart.horizontal(axis)
    for place, (name, parts) in enumerate(rows):
        y = chart.top + 20 * place + 3
        chart.text(chart.left - 8, y + 11, name, anchor="end")
        start = 0.0
        for value, paint, title in parts:
            x = chart.x(axis, start)
            chart.bar(x, y, chart.x(axis, start + value) - x, 14, paint, title)
            start += value
        chart.text(chart.x(axis, start) + 5, y + 11, show(start), size=10, fill=FAINT)
    return chart.render(label)


def lines(
    x: Axis, y: Axis, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], colours: dict[str, str]
) -> str:
    """Return a line chart, one line a series."""
    chart = Chart(height=340)
    chart.horizontal(x)
    chart.vertical(y)
    for name, points in series:
        places = [(chart.x(x, a), chart.y(y, b)) for a, b in points]
        chart.line(places, colours[name], width=1.4)
        for place, (a, b) in zip(places, points, strict=True):
            chart.dot(*place, colours[name], f"{name}: {short(a)}, {b:.3g}", size=3)
    return chart.render(f"{y.label} against {x.label}")
