"""What changed between two runs of a study, and whether it is noise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from api.study.rows import Row, StudyRows
from api.words import SCHEMA_VERSION
from perfsage.measurement import Mode
from perfsage.metrics import Metric

NOISE_FACTOR = 2.0
"""A change within so many times the larger variation of the two is noise."""
LEAST_NOISE = 0.02
"""What is taken as the variation of measurements that were made once, or that came out equal."""
_HEAP_NOISE = 0.005
"""Heap peaks of a whole process differ by fractions of a percent from run to run."""


_MOST_DRIFT = 0.1
"""Clocks, heat and neighbours move a machine by several per cent; a device that moved more has changed."""
_LEAST_DRIFTING = 5
"""Latencies that a device needs for the median of their changes to be its own."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value in both runs; `verdict` is better, worse, drift, same or noise."""

    before: Row
    after: Row
    noise_percent: float
    drift_percent: float = 0.0
    """What all latencies of the device moved by together."""

    @property
    def change_percent(self) -> float:
        """The change relative to the first run; 0 where neither has a value to compare."""
        assert self.before.value is not None and self.after.value is not None
        return 100.0 * (self.after.value / self.before.value - 1.0)

    @property
    def verdict(self) -> str:
        """Whether the value changed, by more than its noise."""
        change = self.change_percent
        if change == 0:
            return "same"
        if abs(change) <= NOISE_FACTOR * self.noise_percent:
            return "noise"
        own = 100.0 * ((1 + change / 100) / (1 + self.drift_percent / 100) - 1)
        if abs(own) <= NOISE_FACTOR * self.noise_percent:
            return "drift"
        return "better" if change < 0 else "worse"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **_place(self.after),
            "before": self.before.value,
            "after": self.after.value,
            "unit": self.after.metric.unit,
            "mode": self.after.mode.value,
            "change_percent": self.change_percent,
            "noise_percent": self.noise_percent,
            "drift_percent": self.drift_percent,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side; `gone` and `new` are values that only one of them has.

    `drifts` says by how many per cent the latencies of a device moved together.
    """

    changes: tuple[Change, ...]
    gone: tuple[Row, ...]
    new: tuple[Row, ...]
    drifts: Mapping[str, float]

    @property
    def verdicts(self) -> dict[str, int]:
        """How many values are of each verdict."""
        return dict(Counter(change.verdict for change in self.changes).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, the largest changes first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "verdicts": self.verdicts,
            "drifts_percent": dict(self.drifts),
            "changes": [change.to_dict() for change in self.changes],
            "gone": [_place(row) for row in self.gone],
            "new": [_place(row) for row in self.new],
        }


def compare_studies(before: StudyRows, after: StudyRows) -> Comparison:
    """Compare two runs value by value, the largest change beyond its noise first."""
    old, new = _by_key(before.rows), _by_key(after.rows)
    changes = [
        Change(old[key], new[key], 100 * _noise(old[key], new[key]))
        for key in old
        if key in new and old[key].value
    ]
    drifts = _drifts(changes)
    changes = [
        replace(c, drift_percent=drifts.get(c.after.device, 0.0)) if _is_timed(c) else c for c in changes
    ]
    changes.sort(key=lambda c: (c.verdict not in ("better", "worse"), -abs(c.change_percent)))
    gone = tuple(row for key, row in old.items() if key not in new)
    return Comparison(tuple(changes), gone, tuple(r for key, r in new.items() if key not in old), drifts)


def _drifts(changes: Iterable[Change]) -> dict[str, float]:
    """Return the median change of the measured latencies of each device, where it may be the machine's."""
    moved: dict[str, list[float]] = defaultdict(list)
    for change in changes:
        if _is_timed(change):
            moved[change.after.device].append(change.change_percent)
    medians = {device: median(found) for device, found in moved.items() if len(found) >= _LEAST_DRIFTING}
    return {device: drift for device, drift in medians.items() if abs(drift) <= 100 * _MOST_DRIFT}


def _is_timed(change: Change) -> bool:
    row = change.after
    return row.metric is Metric.LATENCY_MS and row.mode is change.before.mode is Mode.MEASURED


def _by_key(rows: Iterable[Row]) -> dict[tuple[object, ...], Row]:
    return {
        (r.network, r.dtype, r.batch, r.threads, r.delegate, r.device, r.metric): r
        for r in rows
        if r.value is not None
    }


def _noise(before: Row, after: Row) -> float:
    """Return the relative variation that a value may have without any change.

    Simulations, sizes and predictions of one predictor repeat exactly: any change of theirs is one. Of a
    measurement it is the larger of the two runs' variations over visits.
    """
    if Mode.MEASURED not in (before.mode, after.mode):
        return 0.0
    if before.metric.unit == "bytes":
        is_heap = before.metric is Metric.PEAK_MEMORY_BYTES and before.kind in ("cpu", "phone")
        return _HEAP_NOISE if is_heap else 0.0
    return max([LEAST_NOISE, *(row.noise for row in (before, after) if row.noise is not None)])


def _place(row: Row) -> dict[str, Any]:
    names = ("network", "dtype", "batch", "threads", "delegate", "device")
    return {**{name: getattr(row, name) for name in names}, "metric": row.metric.value}
