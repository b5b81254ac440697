"""Which networks are most worth measuring next: much to learn for little measuring time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfsage.features import GraphFeatures
from perfsage.metrics import Metric
from perfsage.models.adapted_columns import Array, operator_columns, shape_columns
from perfsage.predictor import Predictor
from perfsage.training.calibrate import run_in_chunks

NOISE = 0.3
"""Of the columns' unit spread: how much one measurement leaves open."""
COST_WEIGHT = 0.5
"""Information is divided by the predicted cost to this power: cheap networks first when they tell as much."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The candidate at `index`; `gain` is what measuring it tells (nats) when those before it are known.

    `cost_ms` is the median predicted latency over the predictor's devices.
    """

    index: int
    gain: float
    cost_ms: float


def suggest(predictor: Predictor, candidates: Sequence[GraphFeatures], count: int) -> tuple[Suggestion, ...]:
    """Return `count` of the candidates, the most worth measuring first.

    Greedy D-optimal design: each step takes the network whose cost structure the ones before determine
    least, per predicted cost. What a network costs is described by the shares of its operators by kind, and
    by how it is built.
    """
    costs = predicted_costs(predictor, candidates)
    columns = _columns(candidates)
    # The networks known so far span a precision matrix; gains follow from its inverse, updated by rank one.
    covariance = np.eye(columns.shape[1])
    left = list(range(len(candidates)))
    chosen: list[Suggestion] = []
    while left and len(chosen) < count:
        rows = columns[left]
        gains = 0.5 * np.log1p(np.einsum("ij,jk,ik->i", rows, covariance, rows) / NOISE**2)
        worth = gains / costs[left] ** COST_WEIGHT
        place = int(np.argmax(worth))
        index = left.pop(place)
        chosen.append(Suggestion(index, float(gains[place]), float(costs[index])))
        told = covariance @ columns[index]
        covariance -= np.outer(told, told) / (NOISE**2 + columns[index] @ told)
    return tuple(chosen)


def predicted_costs(predictor: Predictor, candidates: Sequence[GraphFeatures]) -> Array:
    """Return float64[n]: the median latency in ms over the devices that have one."""
    raw = run_in_chunks(predictor.session, candidates)
    entries = predictor.manifest.devices
    timed = [row for row, entry in enumerate(entries) if entry.labels.get(Metric.LATENCY_MS)]
    logs = (
        raw.log_values[:, timed, list(Metric).index(Metric.LATENCY_MS)] if timed else raw.log_values[..., 0]
    )
    return np.asarray(np.exp(np.median(logs.astype(np.float64), axis=1)))


def _columns(candidates: Sequence[GraphFeatures]) -> Array:
    """Return float64[n, q]: logarithmic counts by kind and shape, standardised, of unit mean square."""
    columns = [operator_columns(features) for features in candidates]
    kinds = sorted({kind for one in columns for kind in one.kinds.tolist()})
    raw = np.stack(
        [
            np.concatenate([shape_columns(features, one, kinds), np.log1p(one.sum_terms())])
            for features, one in zip(candidates, columns, strict=True)
        ]
    )
    spread = raw.std(axis=0)
    used = spread > 1e-6
    scaled = (raw[:, used] - raw[:, used].mean(axis=0)) / spread[used]
    full = np.concatenate([np.ones((len(candidates), 1)), scaled], axis=1)
    return np.asarray(full / np.sqrt(full.shape[1]))
