"""What an X-NUCLEO-LPM01A prints while it measures, told apart and put together.

`6409-07` is 6409e-07 (joules in energy mode), `TimeStamp: 001s 000ms, buff 05%` comes every 1000 samples,
`event 03 ris` when the D7 input moves. Lines are sometimes broken in two; two halves that make a number are
joined, a half that stays alone counts as a lost sample.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SAMPLE = re.compile(r"(\d+)([+-]\d+)")
TIMESTAMP = re.compile(r"TimeStamp:[ ><]*(\d+)s (\d+)ms, buff (\d+)%")
EVENT = re.compile(r"event (\d+) (?:ris|fal)")
PART = re.compile(r"\d+[+-]?|[+-]?\d+")
SAMPLES_PER_TIMESTAMP = 1000
BUFFER_FULL_PERCENT = 99


@dataclass(slots=True)
class Readings:
    """Samples in joules or amperes, and the number of samples before each edge of D7."""

    samples: list[float] = field(default_factory=list)
    edges: list[int] = field(default_factory=list)
    lost: int = 0
    """Samples that did not come, as far as the timestamps and broken lines show."""
    _half: str = ""
    _last_mark: int | None = None
    _last_event: int | None = None

    def add(self, line: str) -> None:
        """Take one line; lines of other kinds are ignored."""
        if found := EVENT.search(line):
            self._event(int(found[1]))
        elif found := TIMESTAMP.search(line):
            self._timestamp(int(found[3]))
        elif found := SAMPLE.fullmatch(line):
            self._end_half()
            self.samples.append(_value(found))
        elif PART.fullmatch(line):
            self._join(line)

    def _join(self, part: str) -> None:
        whole = SAMPLE.fullmatch(self._half + part) if self._half else None
        if whole is None:
            self._end_half()
            self._half = part
            return
        self._half = ""
        self.samples.append(_value(whole))

    def _end_half(self) -> None:
        if self._half:
            self.lost += 1
        self._half = ""

    def _timestamp(self, buffer_percent: int) -> None:
        self._end_half()
        if self._last_mark is not None:
            self.lost += abs(len(self.samples) - self._last_mark - SAMPLES_PER_TIMESTAMP)
        if buffer_percent >= BUFFER_FULL_PERCENT:
            self.lost += 1
        self._last_mark = len(self.samples)

    def _event(self, number: int) -> None:
        """Take an edge; its number counts up by one, modulo 100, so that a lost one shows."""
        if self._last_event is not None and number != (self._last_event + 1) % 100:
            self.lost += 1
        self._last_event = number
        self.edges.append(len(self.samples))


def _value(found: re.Match[str]) -> float:
    return float(f"{found[1]}e{found[2]}")
