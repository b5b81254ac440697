"""Baselines that every predictor is held against, fitted on the same split with the same labels.

Each is a `Baseline`: it learns one device and metric at a time from graph features, and predicts values in
the metric's unit. `BASELINES` lists those that every training is held against, in the order of the
evaluation table; `all_baselines` adds those that take a minute each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import MissingExtraError
from perfsage.features import GraphFeatures
from perfsage.models.baselines_additive import AdditiveRidgeBaseline, KernelForestBaseline
from perfsage.models.physics import common_term_columns


class Baseline(Protocol):
    """A regression from graph features to one number."""

    def fit(
        self,
        items: Sequence[GraphFeatures],
        values: NDArray[np.float64],
        operators: Sequence[NDArray[np.float64] | None] | None = None,
    ) -> None:
        """Learn from graphs and their positive values, float64[len(items)].

        `operators` holds the values of each graph's operators, NaN where unknown, where a tool gives them.
        """
        ...

    def predict(self, items: Sequence[GraphFeatures]) -> NDArray[np.float64]:
        """Return float64[len(items)]."""
        ...


class MeanBaseline:
    """Predicts the same value for every network: the one with the least mean relative error."""

    def __init__(self) -> None:
        self._value = 0.0

    def fit(
        self,
        items: Sequence[GraphFeatures],
        values: NDArray[np.float64],
        operators: Sequence[NDArray[np.float64] | None] | None = None,
    ) -> None:
        """Keep the harmonic-weighted median of `values`, which minimises the sum of |x - v| / v."""
        order = np.argsort(values)
        weight = np.cumsum(1.0 / values[order])
        self._value = float(values[order][np.searchsorted(weight, weight[-1] / 2)])

    def predict(self, items: Sequence[GraphFeatures]) -> NDArray[np.float64]:
        """Return that value for every network."""
        return np.full(len(items), self._value)


class CostsBaseline:
    """Non-negative linear regression on a network's totals: operators, MACs, operations, bytes, peak memory.

    Rows are divided by their value, so that relative errors count.
    """

    def __init__(self) -> None:
        try:
            from sklearn.linear_model import LinearRegression
        except ImportError as error:
            raise MissingExtraError("scikit-learn", "train") from error
        self._model = LinearRegression(positive=True, fit_intercept=False)
        self._scale = np.ones(1)

    def fit(
        self,
        items: Sequence[GraphFeatures],
        values: NDArray[np.float64],
        operators: Sequence[NDArray[np.float64] | None] | None = None,
    ) -> None:
        """Fit the rate of each total."""
        totals = _totals(items)
        self._scale = np.maximum(totals.mean(axis=0), 1e-12)
        self._model.fit(totals / self._scale / values[:, None], np.ones(len(values)))

    def predict(self, items: Sequence[GraphFeatures]) -> NDArray[np.float64]:
        """Return the sum of totals times rates."""
        return np.asarray(self._model.predict(_totals(items) / self._scale), dtype=np.float64)


def _totals(items: Sequence[GraphFeatures]) -> NDArray[np.float64]:
    """Return float64[graphs, columns]: a constant, the terms' sums, and the totals in bytes."""
    sums = np.stack([common_term_columns(item.physical).sum(axis=0) for item in items])
    memory = [[item.total("plan_peak_bytes"), item.total("file_bytes")] for item in items]
    return np.concatenate([np.ones((len(items), 1)), sums, np.array(memory)], axis=1)


BASELINES: Mapping[str, Callable[[], Baseline]] = {
    "mean": MeanBaseline,
    "costs": CostsBaseline,
    "ridge": AdditiveRidgeBaseline,
}


def all_baselines(*, epochs: int = 200, seconds: float = 60.0) -> Mapping[str, Callable[[], Baseline]]:
    """Return every baseline by name; the published networks train for `epochs` or `seconds` a target."""
    try:
        from perfsage.models.baselines_networks import BrpNas, NetworkBaseline, OriginalPerfSAGE
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error
    return {
        **BASELINES,
        "forests": KernelForestBaseline,
        "perfsage-2021": lambda: NetworkBaseline(OriginalPerfSAGE, epochs=epochs, seconds=seconds),
        "brp-nas": lambda: NetworkBaseline(BrpNas, epochs=epochs, seconds=seconds),
    }
