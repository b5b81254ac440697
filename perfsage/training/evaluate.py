"""Score predictions on graphs that took no part in training, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from perfsage.answers import METRIC_ROWS, exact_values, unavailable_reason
from perfsage.metrics import Metric
from perfsage.models.baselines import BASELINES
from perfsage.models.calibration import Calibration
from perfsage.models.manifest import DeviceEntry
from perfsage.models.session import NetworkSession
from perfsage.training.calibrate import run_in_chunks
from perfsage.training.evaluate_scores import Judged, baseline_values, scores_of, spearman
from perfsage.training.examples import Example, Target
from perfsage.training.options import Score

__all__ = ["evaluate", "spearman"]


def evaluate(
    session: NetworkSession,
    calibration: Calibration,
    entries: Sequence[DeviceEntry],
    train: Sequence[Example],
    test: Sequence[Example],
    noise_floor_percent: Mapping[Target, float] | None = None,
) -> tuple[Score, ...]:
    """Return a score for each device, metric and space of `test`, with one over all spaces first.

    Baselines learn from `train`. Predictions are made exactly as `Predictor` makes them.
    """
    if not test:
        return ()
    items = [example.features for example in test]
    raw = run_in_chunks(session, items)
    half_widths = calibration.half_widths(raw, calibration.doubts(items, raw))
    scores: list[Score] = []
    for row, entry in enumerate(entries):
        for metric in Metric:
            column = METRIC_ROWS[metric]
            logs, widths = raw.log_values[:, row, column], half_widths[:, row, column]
            noise = (noise_floor_percent or {}).get((entry.device.name, metric))
            judged = _judge(
                entry, metric, train, test, logs.astype(np.float64), widths.astype(np.float64), noise
            )
            scores += scores_of(judged) if judged is not None else []
    return tuple(scores)


def _judge(
    entry: DeviceEntry,
    metric: Metric,
    train: Sequence[Example],
    test: Sequence[Example],
    logs: NDArray[np.float64],
    widths: NDArray[np.float64],
    noise: float | None,
) -> Judged | None:
    target = (entry.device.name, metric)
    rows = [
        i
        for i, example in enumerate(test)
        if example.labels.get(target, 0.0) > 0 and unavailable_reason(entry, metric, example.features) is None
    ]
    if not rows:
        return None
    chosen = [test[i] for i in rows]
    value, half = np.exp(logs[rows]), np.exp(np.minimum(widths[rows], 50.0))
    exact = exact_values(entry, metric, np.stack([example.features.totals for example in chosen]))
    value, half = np.where(exact > 0, exact, value), np.where(exact > 0, 1.0, half)
    return Judged(
        device=entry.device.name,
        metric=metric,
        noise_floor_percent=noise,
        truth=np.array([example.labels[target] for example in chosen]),
        value=value,
        low=value / half,
        high=value * half,
        baselines=baseline_values(target, train, [example.features for example in chosen], BASELINES),
        spaces=tuple(example.space for example in chosen),
        families=tuple(example.family for example in chosen),
        operators=np.array([example.features.operators for example in chosen]),
    )
