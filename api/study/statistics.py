"""The numbers behind the figures."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from api.study.rows import Row, StudyRows
from perfsage.metrics import Metric

OUTLIER_SCORE = 3.5
"""A robust z-score beyond this is an outlier (Iglewicz and Hoaglin, 1993)."""
_LEAST_POINTS = 5


@dataclass(frozen=True, slots=True)
class Proxy:
    """How well MACs stand for latency on a device: latency = factor * MACs ** exponent."""

    device: str
    dtype: str
    networks: int
    spearman: float
    exponent: float
    factor: float
    mean_error_percent: float
    worst_network: str
    worst_ratio: float
    """Measured latency over what the fit says, for the network that it fits worst."""
    wrong_pairs_percent: float
    """Of all pairs of networks, those that MACs put into the wrong order."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A value that is far from what its MACs let expect, on its device."""

    device: str
    label: str
    ratio: float
    score: float


def proxies(study: StudyRows) -> tuple[list[Proxy], list[Outlier]]:
    """Fit latency against MACs on each device and type with at least five networks."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in study.of(Metric.LATENCY_MS):
        if row.value and macs_of(study, row):
            groups[row.device, row.dtype].append(row)
    found, outliers = [], []
    for (device, dtype), rows in groups.items():
        if len(rows) >= _LEAST_POINTS:
            proxy, far = _proxy(device, dtype, rows, [macs_of(study, row) or 1 for row in rows])
            found.append(proxy)
            outliers += far
    return found, outliers


def macs_of(study: StudyRows, row: Row) -> int | None:
    """Return a row's MACs; imported rows have no graph, and take those of the same architecture."""
    if row.macs:
        return row.macs
    same = (r.macs for r in study.rows if r.network == row.network and r.batch == row.batch and r.macs)
    return next(same, None)


def _proxy(device: str, dtype: str, rows: Sequence[Row], macs: Sequence[int]) -> tuple[Proxy, list[Outlier]]:
    x = np.log(np.array(macs, float))
    y = np.log(np.array([row.value or 1.0 for row in rows]))
    exponent, offset = np.polyfit(x, y, 1)
    residual = y - (exponent * x + offset)
    worst = int(np.argmax(np.abs(residual)))
    proxy = Proxy(
        device, dtype, len(rows), spearman(x, y), float(exponent), float(np.exp(offset)),
        float(100 * np.mean(np.abs(np.exp(-residual) - 1))), rows[worst].network,
        float(np.exp(residual[worst])), _wrong_pairs(x, y),
    )  # fmt: skip
    centre = np.median(residual)
    spread = float(np.median(np.abs(residual - centre)))
    scores = 0.6745 * (residual - centre) / spread if spread else np.zeros_like(residual)
    far = [
        Outlier(device, row.label, float(np.exp(r)), float(score))
        for row, r, score in zip(rows, residual, scores, strict=True)
        if abs(score) > OUTLIER_SCORE
    ]
    return proxy, far


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation; equal values share their mean rank."""
    ranks = [_ranks(values) for values in (x, y)]
    if min(float(np.std(r)) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return ranks


def _wrong_pairs(x: np.ndarray, y: np.ndarray) -> float:
    upper = np.triu_indices(len(x), 1)
    product = np.subtract.outer(x, x)[upper] * np.subtract.outer(y, y)[upper]
    return float(100 * np.mean(product < 0)) if len(product) else 0.0


@dataclass(frozen=True, slots=True)
class Tier:
    """How fast a device is beside the reference: the geometric mean over networks that both ran."""

    device: str
    kind: str
    speed: float
    low: float
    high: float
    networks: int


def latencies(study: StudyRows, dtype: str) -> dict[str, dict[str, float]]:
    """Return the latency of each network in ms, by device; devices without any are left out."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in study.of(Metric.LATENCY_MS):
        if row.dtype == dtype and row.value:
            found[row.device][row.network] = row.value
    return found


def tier_reference(study: StudyRows, dtype: str) -> str:
    """Return the device that shares most networks with the others; ValueError where none has a latency."""
    latency = latencies(study, dtype)
    return max(latency, key=lambda name: sum(len(latency[name].keys() & o.keys()) for o in latency.values()))


def tiers(study: StudyRows, dtype: str) -> list[Tier]:
    """Return devices from fastest to slowest, relative to the one that shares most networks."""
    latency = latencies(study, dtype)
    if len(latency) < 2:
        return []
    kinds = {device.name: device.kind for device in study.devices}
    reference = latency[tier_reference(study, dtype)]
    found = []
    for name, values in latency.items():
        ratios = [
            reference[network] / values[network] for network in sorted(values.keys() & reference.keys())
        ]
        if len(ratios) >= 3:
            mean = geometric_mean(ratios)
            found.append(Tier(name, kinds[name], mean, min(ratios), max(ratios), len(ratios)))
    return sorted(found, key=lambda tier: -tier.speed)


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of positive values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the points that no other one beats: lower x and higher y, in the order of x."""
    best, found = -math.inf, []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            found.append(index)
    return found
