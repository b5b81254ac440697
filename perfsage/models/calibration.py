"""How far to trust a prediction: conformal intervals, and whether a network is like those learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perfsage.features import GraphFeatures
from perfsage.models.session import RawOutputs

DOUBTED = 5.0
"""How many times as wide intervals are of networks unlike those learned from. Of 13 real files with operators
that no network had in training, a half was covered without this, three quarters to nearly all with it."""


def spreads(raw: RawOutputs, least: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what counts as each prediction's spread, float32[g, d, 4]: none knows its own blind spots."""
    return np.asarray(np.exp(np.maximum(raw.log_spread, least)), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything that was learned on the calibration split, for d devices and pooled width p.

    `quantiles` float32[d, 4] multiply the network's own spread to the interval's half width in log space,
    NaN where nothing was labelled; no logarithm of a spread counts as less than `least` float32[d, 4].
    `centre` [p] and `whitening` [p, p] measure distances between graphs, `limit` is the largest distance that
    counts as familiar. `type_seen` bool[types] and `largest` [physical] say which operators occurred, and how
    large.
    """

    level: float
    quantiles: NDArray[np.float32]
    least: NDArray[np.float32]
    centre: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float
    type_seen: NDArray[np.bool_]
    largest: NDArray[np.float64]

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the fields as arrays, for an .npz file."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Calibration:
        """Return what `to_arrays` gave; KeyError where an array is missing."""
        values = {field.name: arrays[field.name] for field in fields(cls)}
        return cls(**{**values, "level": float(values["level"]), "limit": float(values["limit"])})  # type: ignore[arg-type]

    def distances(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the Mahalanobis distance of each graph from the training set, per dimension, float32[g]."""
        moved = (pooled - self.centre) @ self.whitening
        return np.asarray(np.sqrt((moved**2).mean(axis=1)), dtype=np.float32)

    def half_widths(self, raw: RawOutputs, doubts: Sequence[tuple[str, ...]]) -> NDArray[np.float32]:
        """Return the half width of each interval in log space, float32[g, d, 4].

        Where there are `doubts` [g], intervals are DOUBTED times as wide, and wider the farther a graph is.
        """
        widening = np.maximum(1.0, self.distances(raw.pooled) / self.limit)
        widening *= np.where([bool(each) for each in doubts], DOUBTED, 1.0)
        widths = spreads(raw, self.least) * self.quantiles * widening[:, None, None]
        return np.asarray(widths, dtype=np.float32)

    def doubts(self, items: Sequence[GraphFeatures], raw: RawOutputs) -> list[tuple[str, ...]]:
        """Return the reasons why each graph is unlike those learned from; none for a familiar one."""
        distances = self.distances(raw.pooled)
        return [
            (*self._unseen(item), *self._oversized(item), *self._far(float(distance)))
            for item, distance in zip(items, distances, strict=True)
        ]

    def _unseen(self, item: GraphFeatures) -> list[str]:
        seen = self.type_seen[item.type_index]
        if seen.all():
            return []
        names = np.unique(item.type_names[~seen]).tolist()
        return [f"operator types never seen in training: {', '.join(names[:8])}"]

    def _oversized(self, item: GraphFeatures) -> list[str]:
        large = item.physical > 2.0 * self.largest
        if not large.any():
            return []
        beyond = np.flatnonzero(large.any(axis=1))
        places = ", ".join(f"{item.location[row][0]}:{item.location[row][1]}" for row in beyond[:4])
        return [
            f"{len(beyond)} operators are more than twice as large as any seen in training (first: {places})"
        ]

    def _far(self, distance: float) -> list[str]:
        if distance <= self.limit:
            return []
        return [
            f"its structure is unlike the training set's (distance {distance:.1f}, limit {self.limit:.1f})"
        ]
