"""Baselines that sum over operators: ridge regression on counts by stage, and forests a kind of operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import MissingExtraError
from perfsage.features import NODE_COLUMNS, PHYSICAL_COLUMNS, GraphFeatures
from perfsage.models.adapted_columns import operator_columns

Array = NDArray[np.float64]

_STAGE = [NODE_COLUMNS.index(name) for name in ("out_h", "out_c", "stride_h")]
_SHAPE = [NODE_COLUMNS.index(name) for name in ("out_h", "out_w", "out_c", "in_c", "stride_h")]
_LOG_COSTS = [NODE_COLUMNS.index(name) for name in PHYSICAL_COLUMNS if name in NODE_COLUMNS]
RIDGE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FEWEST_FOR_FOREST = 20
TREES = 30


class _Regressor(Protocol):
    def fit(self, rows: Array, values: Array) -> _Regressor: ...

    def predict(self, rows: Array) -> Array: ...


class AdditiveRidgeBaseline:
    """Ridge regression on how often each operator occurs at each stage, in relative terms.

    An operator is its kind with its output's height and channels and its stride; the strength is chosen by
    leaving each network out, in closed form. Operators that were not learned from cost nothing.
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._rates = np.zeros(1)

    def fit(
        self, items: Sequence[GraphFeatures], values: Array, operators: Sequence[Array | None] | None = None
    ) -> None:
        """Learn a rate for each operator at each stage."""
        names = [_staged(item) for item in items]
        self._places = {name: i for i, name in enumerate(sorted({one for each in names for one in each}))}
        counts = np.stack([self._counts(each) for each in names])
        scale = np.maximum(counts.mean(axis=0), 1e-9)
        relative = counts / scale / values[:, None] * float(np.median(values))
        target = np.full(len(values), 1.0)
        left, singular, right = np.linalg.svd(relative, full_matrices=False)
        strength = min(
            RIDGE_STRENGTHS, key=lambda s: _left_out_error(left, singular, target, s * singular[0] ** 2)
        )
        shrunk = singular / (singular**2 + strength * singular[0] ** 2)
        self._rates = (right.T @ (shrunk * (left.T @ target))) / scale * float(np.median(values))

    def predict(self, items: Sequence[GraphFeatures]) -> Array:
        """Return the sums, at least a thousandth of a typical one."""
        sums = np.array([self._counts(_staged(item)) @ self._rates for item in items])
        return np.asarray(np.maximum(sums, 1e-3 * max(float(np.median(np.abs(sums))), 1e-12)))

    def _counts(self, names: Sequence[str]) -> Array:
        counts = np.zeros(len(self._places) + 1)
        counts[-1] = 1.0
        for name in names:
            if name in self._places:
                counts[self._places[name]] += 1.0
        return counts


def _staged(item: GraphFeatures) -> list[str]:
    kinds = operator_columns(item).kinds.tolist()
    stages = np.rint(np.expm1(item.node[:, _STAGE])).astype(np.int64).tolist()
    return [
        f"{kind} {height} {channels} {stride}"
        for kind, (height, channels, stride) in zip(kinds, stages, strict=True)
    ]


def _left_out_error(left: Array, singular: Array, target: Array, strength: float) -> float:
    """Return the mean absolute error of each network predicted from the others."""
    shrunk = singular**2 / (singular**2 + strength)
    fitted = left @ (shrunk * (left.T @ target))
    leverage = np.minimum((left**2 @ shrunk), 1 - 1e-9)
    return float(np.abs((target - fitted) / (1 - leverage)).mean())


class KernelForestBaseline:
    """A random forest for each kind of operator, summed, as nn-Meter does with kernels.

    Needs values by operator; without any, gradient boosting on whole networks takes its place.
    """

    def __init__(self) -> None:
        self._forests: dict[str, _Regressor] = {}
        self._boosting: _Regressor | None = None
        self._kinds: list[str] = []
        self._factor = 1.0

    def fit(
        self, items: Sequence[GraphFeatures], values: Array, operators: Sequence[Array | None] | None = None
    ) -> None:
        """Learn from the operators that have values, else from whole networks."""
        rows, targets, kinds = _labelled(items, operators)
        if len(targets) < FEWEST_FOR_FOREST:
            self._fit_boosting(items, values)
            return
        for kind in ["", *sorted(set(kinds))]:
            mask = np.array([kind in ("", name) for name in kinds])
            if mask.sum() >= FEWEST_FOR_FOREST or not kind:
                self._forests[kind] = _forest().fit(rows[mask], targets[mask])
        self._factor = float(np.median(values / self._sums(items)))

    def predict(self, items: Sequence[GraphFeatures]) -> Array:
        """Return the sums over operators, or what boosting says."""
        if self._boosting is not None:
            return np.asarray(np.exp(self._boosting.predict(_network_rows(items, self._kinds))))
        return self._sums(items) * self._factor

    def _fit_boosting(self, items: Sequence[GraphFeatures], values: Array) -> None:
        try:
            from sklearn.ensemble import HistGradientBoostingRegressor
        except ImportError as error:
            raise MissingExtraError("scikit-learn", "train") from error
        self._kinds = sorted({kind for item in items for kind in operator_columns(item).kinds.tolist()})
        model = HistGradientBoostingRegressor(max_iter=200, min_samples_leaf=5, random_state=0)
        self._boosting = model.fit(_network_rows(items, self._kinds), np.log(values))

    def _sums(self, items: Sequence[GraphFeatures]) -> Array:
        sizes = [item.operators for item in items]
        rows = np.concatenate([_operator_rows(item) for item in items])
        kinds = np.concatenate([operator_columns(item).kinds for item in items])
        logs = np.zeros(len(rows))
        for kind in np.unique(kinds).tolist():
            mask = kinds == kind
            logs[mask] = self._forests.get(kind, self._forests[""]).predict(rows[mask])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return np.asarray(np.add.reduceat(np.exp(logs), starts))


def _forest() -> _Regressor:
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "train") from error
    forest: _Regressor = RandomForestRegressor(n_estimators=TREES, random_state=0, n_jobs=1)
    return forest


def _operator_rows(item: GraphFeatures) -> Array:
    return item.node[:, _LOG_COSTS + _SHAPE].astype(np.float64)


def _labelled(
    items: Sequence[GraphFeatures], operators: Sequence[Array | None] | None
) -> tuple[Array, Array, list[str]]:
    """Return rows, log values and kinds of the operators with a positive value."""
    rows: list[Array] = []
    targets: list[Array] = []
    kinds: list[str] = []
    for item, values in zip(items, operators or [None] * len(items), strict=True):
        if values is not None:
            known = np.isfinite(values) & (values > 0)
            rows.append(_operator_rows(item)[known])
            targets.append(np.log(values[known]))
            kinds += operator_columns(item).kinds[known].tolist()
    empty = np.zeros((0, len(_LOG_COSTS) + len(_SHAPE)))
    return np.concatenate([empty, *rows]), np.concatenate([np.zeros(0), *targets]), kinds


def _network_rows(items: Sequence[GraphFeatures], kinds: Sequence[str]) -> Array:
    """Return logarithms of the totals, and of the sums by kind."""
    made = []
    for item in items:
        columns = operator_columns(item)
        made.append(np.concatenate([columns.sum_terms(), item.totals, columns.sum_kinds(kinds).ravel()]))
    return np.asarray(np.log1p(np.maximum(np.stack(made), 0.0)))
