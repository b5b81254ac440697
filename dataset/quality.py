"""How far labels can be trusted: repeated measurements, values that stick out, structures held twice.

A value is compared with what networks of like cost have on the same device: a quadratic in the logarithms of
MACs, file bytes and operators, fitted without the values that stick out. That is a crude guess, so only what
is off by many times the usual residual is named; every such value is a question, not an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset.store import Store
from perfsage.measurement import Statistic

if TYPE_CHECKING:
    import pandas as pd

OUTLIER_SCORE = 6.0
FEWEST_VALUES = 50
NOISY = 0.10
_GAUSSIAN_MAD = 1.4826
_GROUP = ["device", "metric", "definition", "dtype"]
_QUANTITY = ["network", "device", "metric", "definition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A value far from what networks of like cost have; `expected` is in the metric's unit, `score` in
    standard deviations of the logarithm.
    """

    space: str
    seed: int | None
    dtype: str
    model_id: str
    device: str
    metric: str
    definition: str
    value: float
    expected: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much samples of one quantity scatter: 1.4826 MAD / median, over networks."""

    device: str
    metric: str
    definition: str
    values: int
    median: float
    p95: float
    noisy: int
    """How many networks scatter by more than `NOISY`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """The same quantity of a network measured by more than one run; `spread` is largest / smallest - 1."""

    device: str
    metric: str
    definition: str
    repeated: int
    median_spread: float
    largest_spread: float
    exact: bool
    """Whether the tool promises the same value every time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What `check_quality` found."""

    networks: int
    duplicate_networks: int
    values: int
    noise: tuple[Noise, ...]
    disagreements: tuple[Disagreement, ...]
    outliers: tuple[Outlier, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def check_quality(store: Store, *, score: float = OUTLIER_SCORE) -> QualityReport:
    """Return what is remarkable about the labels of a dataset; outliers come worst first."""
    stats = store.stats()
    values = 0
    noise: list[Noise] = []
    again: list[Disagreement] = []
    outliers: list[Outlier] = []
    for device in store.devices():
        frame = store.frame(device=device.name)
        known = frame[frame["value"].notna()]
        values += len(known)
        noise += _noise(known)
        again += _disagreements(known)
        outliers += _outliers(known, score)
    return QualityReport(
        networks=stats.networks,
        duplicate_networks=stats.networks - stats.structures,
        values=values,
        noise=tuple(noise),
        disagreements=tuple(again),
        outliers=tuple(sorted(outliers, key=lambda outlier: -outlier.score)),
    )


def _noise(known: pd.DataFrame) -> Iterator[Noise]:
    sampled = known[known["noise"].notna()]
    for (device, metric, definition), group in sampled.groupby(_GROUP[:3], observed=True):
        noise = group["noise"].to_numpy()
        yield Noise(
            device=device,
            metric=metric,
            definition=definition,
            values=len(noise),
            median=float(np.median(noise)),
            p95=float(np.quantile(noise, 0.95)),
            noisy=int((noise > NOISY).sum()),
        )


def _disagreements(known: pd.DataFrame) -> Iterator[Disagreement]:
    repeated = known[known.duplicated(_QUANTITY, keep=False) & (known["value"] > 0)]
    for (device, metric, definition), group in repeated.groupby(_GROUP[:3], observed=True):
        extent = group.groupby("network")["value"].agg(["min", "max"])
        spread = (extent["max"] / extent["min"] - 1.0).to_numpy()
        yield Disagreement(
            device=device,
            metric=metric,
            definition=definition,
            repeated=len(spread),
            median_spread=float(np.median(spread)),
            largest_spread=float(spread.max()),
            exact=set(group["statistic"]) == {Statistic.EXACT.value},
        )


def _outliers(known: pd.DataFrame, limit: float) -> Iterator[Outlier]:
    usable = known[(known["value"] > 0) & known["macs"].notna()]
    for _, group in usable.groupby(_GROUP, observed=True):
        if len(group) < FEWEST_VALUES:
            continue
        logs = np.log(group["value"].to_numpy("float64"))
        expected = _fit(_costs(group), logs)
        scores = np.abs(logs - expected) / _scale(logs - expected)
        for place in np.flatnonzero(scores > limit):
            yield _outlier(group.iloc[int(place)], float(np.exp(expected[place])), float(scores[place]))


def _outlier(row: Any, expected: float, score: float) -> Outlier:
    import pandas as pd

    names = ("dtype", "model_id", "device", "metric", "definition")
    return Outlier(
        space=str(row["space"]) if not pd.isna(row["space"]) else "(files)",
        seed=None if pd.isna(row["seed"]) else int(row["seed"]),
        value=float(row["value"]),
        expected=expected,
        score=score,
        **{name: str(row[name]) for name in names},
    )


def _costs(group: pd.DataFrame) -> NDArray[np.float64]:
    """Return float64[n, 10]: all monomials of degree two at most in the standardized logarithms."""
    columns = [np.log1p(group[name].to_numpy("float64")) for name in ("macs", "file_bytes", "operators")]
    one = [(column - column.mean()) / (column.std() or 1.0) for column in columns]
    squares = [one[i] * one[j] for i in range(3) for j in range(i, 3)]
    return np.stack([np.ones(len(group)), *one, *squares], axis=1)


def _fit(costs: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what least squares expects, fitted again twice without what sticks out."""
    kept = np.ones(len(logs), bool)
    expected = logs
    for _ in range(3):
        weights = np.linalg.lstsq(costs[kept], logs[kept], rcond=None)[0]
        expected = costs @ weights
        kept = np.abs(logs - expected) <= 3.0 * _scale(logs - expected)
    return expected


def _scale(residuals: NDArray[np.float64]) -> float:
    """Return a robust standard deviation, never below one in a thousand: exact fits have no outliers."""
    return max(_GAUSSIAN_MAD * float(np.median(np.abs(residuals))), 1e-3)
