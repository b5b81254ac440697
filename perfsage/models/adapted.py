"""Devices that were added to a predictor from a handful of measurements, and how they are predicted.

A value is a sum with positive rates, over the operators' costs by kind, the graph's totals, and what the
predictor says of the devices that it was trained on; a Gaussian process over how networks are built corrects
what that sum leaves. `perfsage.training.adapt` fits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perfsage.features import GraphFeatures
from perfsage.models.adapted_columns import (
    Array,
    OperatorColumns,
    graph_totals,
    operator_columns,
    shape_columns,
)

LARGEST_CORRECTION = 0.5
"""The Gaussian process may change a sum by this share of it at most."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one network is judged by: its columns, and the base devices' values of the metric, float64[d]."""

    features: GraphFeatures
    columns: OperatorColumns
    totals: Array
    base: Array

    @classmethod
    def of(cls, features: GraphFeatures, base: Array) -> Facts:
        """Return the facts of a network."""
        return cls(features, operator_columns(features), graph_totals(features), base)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedMetric:
    """One metric of one added device, fitted to n networks.

    `constant` is in the metric's unit; `term_rates` [terms], `kind_rates` [kinds, group terms], `total_rates`
    [totals] and `base_rates` [d] are per unit of each column, none negative. Operators of a kind that was
    never measured cost `unknown_rates` [terms] instead. `shapes` [n, q] are the measured networks as
    `shape_columns`, `centre` and `scale` [q] standardise them, and `weights` [n] are the process's, over
    squared exponentials of `length`; `half_width` is in log space, `largest` [terms] the largest measured
    sums, `smallest` likewise.
    """

    kinds: tuple[str, ...]
    constant: float
    term_rates: Array
    kind_rates: Array
    total_rates: Array
    base_rates: Array
    unknown_rates: Array
    shapes: Array
    centre: Array
    scale: Array
    weights: Array
    length: float
    half_width: float
    largest: Array
    smallest: Array
    error_percent: float

    def value(self, facts: Facts) -> float:
        """Return the value of a network, in the metric's unit."""
        return self.sum(facts) * (1.0 + self.correction(facts))

    def sum(self, facts: Facts) -> float:
        """Return the additive part."""
        others = float(facts.totals @ self.total_rates + facts.base @ self.base_rates)
        return self.constant + others + float(self.operator_costs(facts.columns).sum())

    def operator_costs(self, columns: OperatorColumns) -> Array:
        """Return each operator's share of what is summed over operators, float64[n]."""
        rows, known = columns.places(self.kinds)
        costs = columns.terms @ self.term_rates
        if len(self.kinds):
            costs += (columns.operator_kind_terms() * self.kind_rates[rows]).sum(axis=1) * known
        return np.asarray(np.where(known, costs, columns.terms @ self.unknown_rates))

    def correction(self, facts: Facts) -> float:
        """Return the share by which the process changes the sum."""
        if not len(self.weights):
            return 0.0
        shape = (shape_columns(facts.features, facts.columns, self.kinds) - self.centre) / self.scale
        kernel = squared_exponential(shape[None], self.shapes, self.length)[0]
        return float(np.clip(kernel @ self.weights, -LARGEST_CORRECTION, LARGEST_CORRECTION))

    def unknown_kinds(self, facts: Facts) -> list[str]:
        """Return the kinds of operator that were never measured."""
        return sorted(set(facts.columns.kinds.tolist()) - set(self.kinds))

    def reach(self, facts: Facts) -> float:
        """Return how many times the network's sums lie beyond those measured, 1 within them."""
        sums = np.maximum(facts.columns.sum_terms(), 1e-9)
        used = self.largest > 0
        if not used.any():
            return 1.0
        beyond = np.maximum(sums / np.maximum(self.largest, 1e-9), self.smallest / sums)
        return float(max(1.0, beyond[used].max()))

    def to_arrays(self, prefix: str) -> dict[str, NDArray[np.generic]]:
        """Return the fields as arrays under `prefix`, for an .npz file."""
        return {f"{prefix}/{field.name}": np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], prefix: str) -> AdaptedMetric:
        """Return what `to_arrays` gave; KeyError, TypeError or ValueError where it is something else."""
        stored = {field.name: arrays[f"{prefix}/{field.name}"] for field in fields(cls)}
        kinds = tuple(str(kind) for kind in stored.pop("kinds"))
        made = {name: np.asarray(array, dtype=np.float64) for name, array in stored.items()}
        if not all(np.isfinite(array).all() for array in made.values()):
            raise ValueError(f"{prefix} holds numbers that are not finite")
        plain = {name: float(array) for name, array in made.items() if array.ndim == 0}
        return cls(**{**made, **plain}, kinds=kinds)  # type: ignore[arg-type]


def squared_exponential(a: Array, b: Array, length: float) -> Array:
    """Return float64[len(a), len(b)]; distances are means over the columns."""
    squared = ((a[:, None, :] - b[None, :, :]) ** 2).mean(axis=2)
    return np.asarray(np.exp(-squared / (2.0 * length**2)))


def check_shapes(metric: AdaptedMetric, devices: int, columns: Sequence[int]) -> None:
    """Refuse arrays that do not fit; `columns` counts terms, group terms, totals and shape extras."""
    terms, group_terms, totals, extras = columns
    kinds, count = len(metric.kinds), len(metric.weights)
    expected = {
        "term_rates": (terms,),
        "unknown_rates": (terms,),
        "largest": (terms,),
        "smallest": (terms,),
        "kind_rates": (kinds, group_terms),
        "total_rates": (totals,),
        "base_rates": (devices,),
        "shapes": (count, kinds + extras),
        "centre": (kinds + extras,),
        "scale": (kinds + extras,),
    }
    for name, shape in expected.items():
        if getattr(metric, name).shape != shape:
            raise ValueError(f"{name} has shape {getattr(metric, name).shape}, not {shape}")
