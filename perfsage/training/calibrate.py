"""Fit a Calibration: conformal quantiles on held-out graphs, and the shape of the training set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perfsage.features import TYPE_COUNT, GraphFeatures, batch_features
from perfsage.models.calibration import Calibration, spreads
from perfsage.models.session import NetworkSession, RawOutputs

SHRINKAGE = 0.05
FAMILIAR_SHARE = 0.99
MARGIN = 1.25
"""The largest familiar distance exceeds that of 99 % of the calibration graphs by this factor."""
LEAST_SHARE = 0.75
"""No spread counts as less than that of so many of the calibration graphs: where the network is surest,
families that it does not know are off by more than it thinks."""
CHUNK = 256


def run_in_chunks(session: NetworkSession, items: Sequence[GraphFeatures]) -> RawOutputs:
    """Run the network over many graphs, some hundred at a time."""
    parts = [session.run(batch_features(items[i : i + CHUNK])) for i in range(0, len(items), CHUNK)]
    names = ("log_values", "log_spread", "operator_latency", "pooled")
    return RawOutputs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit_calibration(
    session: NetworkSession,
    train: Sequence[GraphFeatures],
    held_out: Sequence[GraphFeatures],
    held_out_log_labels: NDArray[np.float32],
    level: float,
    timed: Sequence[GraphFeatures] = (),
) -> Calibration:
    """Return the calibration; `held_out_log_labels` is float32[graphs, d, 4], NaN where there is no label.

    `timed` are the training graphs with a latency: only their operator types count as seen, since memory
    labels alone say nothing of what an operator costs. Without any, those of all training graphs count.
    """
    learned, raw = run_in_chunks(session, train), run_in_chunks(session, held_out)
    centre, whitening = _shape_of(learned.pooled)
    least = np.quantile(raw.log_spread, LEAST_SHARE, axis=0).astype(np.float32)
    unlimited = Calibration(
        level=level,
        quantiles=_quantiles(np.abs(raw.log_values - held_out_log_labels) / spreads(raw, least), level),
        least=least,
        centre=centre,
        whitening=whitening,
        limit=1.0,
        type_seen=_seen_types(timed or train),
        largest=np.max([item.physical.max(axis=0) for item in train], axis=0),
    )
    distances = unlimited.distances(raw.pooled)
    limit = MARGIN * float(np.quantile(distances, FAMILIAR_SHARE))
    return Calibration(**{**unlimited.to_arrays(), "level": level, "limit": limit})  # type: ignore[arg-type]


def fewest_scores(level: float) -> int:
    """Return how many held-out graphs an interval of probability `level` needs: level / (1 - level)."""
    return math.ceil(round(level / (1.0 - level), 9))


def conformal_quantile(scores: NDArray[np.floating], level: float) -> float:
    """Return the value below which a new score falls with probability `level` or more.

    The rank ceil((n + 1) * level) of split conformal prediction; NaN where there are too few scores.
    """
    rank = math.ceil((len(scores) + 1) * level)
    return float(np.sort(scores)[rank - 1]) if 0 < rank <= len(scores) else math.nan


def _quantiles(scores: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """Return float32[d, 4] from `scores` [graphs, d, 4], NaN where there is none.

    Where a device has too few labels, those of every device of the metric serve, then those of every metric:
    scores are relative to the network's own spread, so they are alike.
    """
    _, devices, metrics = scores.shape
    made = np.full((devices, metrics), np.nan, dtype=np.float32)
    every = conformal_quantile(_finite(scores), level)
    for metric in range(metrics):
        shared = conformal_quantile(_finite(scores[:, :, metric]), level)
        shared = shared if np.isfinite(shared) else every
        for device in range(devices):
            own = conformal_quantile(_finite(scores[:, device, metric]), level)
            made[device, metric] = own if np.isfinite(own) else shared
    return made


def _finite(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(values[np.isfinite(values)])


def _shape_of(pooled: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the centre and the whitening matrix of the training set, shrunk towards a sphere."""
    centre = pooled.mean(axis=0)
    covariance = np.atleast_2d(np.cov(pooled.astype(np.float64), rowvar=False, bias=True))
    values, vectors = np.linalg.eigh(covariance)
    floor = SHRINKAGE * max(float(values.mean()), 1e-12)
    return centre, (vectors / np.sqrt(np.maximum(values, 0.0) + floor)).astype(np.float32)


def _seen_types(items: Sequence[GraphFeatures]) -> NDArray[np.bool_]:
    seen = np.zeros(TYPE_COUNT, dtype=np.bool_)
    for item in items:
        seen[item.type_index] = True
    return seen
