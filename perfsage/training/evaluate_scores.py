"""What was predicted beside what is true, and the figures that this comes to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features import GraphFeatures
from perfsage.metrics import Metric
from perfsage.models.baselines import Baseline
from perfsage.training.examples import Example, Target
from perfsage.training.options import Score

MOST_FOR_BASELINES = 1500
FEWEST_FOR_BASELINES = 10
EVERY_SPACE = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Values of one device and metric: truth, prediction and interval, float64[n] each.

    `spaces`, `families` and `operators` say of each network where it comes from and how large it is;
    `baselines` hold float64[n] by name.
    """

    device: str
    metric: Metric
    noise_floor_percent: float | None
    truth: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    baselines: Mapping[str, NDArray[np.float64]]
    spaces: tuple[str, ...]
    families: tuple[str, ...]
    operators: NDArray[np.int64]

    @property
    def error_percent(self) -> NDArray[np.float64]:
        """The absolute relative error of each prediction."""
        return np.asarray(100.0 * np.abs(self.value - self.truth) / self.truth)


def baseline_values(
    target: Target,
    train: Sequence[Example],
    items: Sequence[GraphFeatures],
    makers: Mapping[str, Callable[[], Baseline]],
) -> dict[str, NDArray[np.float64]]:
    """Return what each baseline predicts for `items` after learning from `train`; none from too few.

    Of more than MOST_FOR_BASELINES graphs every second, third, ... is taken: the ridge would take a minute
    for each device and metric.
    """
    known = [example for example in train if example.labels.get(target, 0.0) > 0]
    known = known[:: -(-len(known) // MOST_FOR_BASELINES) or 1]
    if len(known) < FEWEST_FOR_BASELINES:
        return {}
    values = np.array([example.labels[target] for example in known])
    device, metric = target
    operators = [
        example.operator_latency_ms.get(device) if metric is Metric.LATENCY_MS else None for example in known
    ]
    made = {}
    for name, create in makers.items():
        baseline = create()
        baseline.fit([example.features for example in known], values, operators)
        made[name] = baseline.predict(items)
    return made


def scores_of(judged: Judged) -> list[Score]:
    """Return the score over all spaces, then of each space where there are several."""
    spaces = sorted(set(judged.spaces))
    parts = [(EVERY_SPACE, np.ones(len(judged.truth), dtype=np.bool_))]
    if len(spaces) > 1:
        parts += [(space, np.array([s == space for s in judged.spaces])) for space in spaces]
    return [_score(judged, mask, space) for space, mask in parts]


def _score(judged: Judged, mask: NDArray[np.bool_], space: str) -> Score:
    truth, value = judged.truth[mask], judged.value[mask]
    low, high = judged.low[mask], judged.high[mask]
    errors = judged.error_percent[mask]
    # Rounding alone must not throw an exact value out of its interval.
    inside = (truth >= low * (1 - 1e-6)) & (truth <= high * (1 + 1e-6))
    baselines = {
        name: float(np.mean(100.0 * np.abs(values[mask] - truth) / truth))
        for name, values in judged.baselines.items()
    }
    return Score(
        device=judged.device,
        metric=judged.metric.value,
        space=space,
        n=len(truth),
        mape=float(errors.mean()),
        median_ape=float(np.median(errors)),
        within_5=float((errors <= 5).mean()),
        within_10=float((errors <= 10).mean()),
        spearman=spearman(value, truth),
        coverage=float(inside.mean()),
        width=float(np.median((high - low) / value)),
        baseline_mape=baselines,
        noise_floor_percent=judged.noise_floor_percent,
    )


def spearman(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> float | None:
    """Return Spearman's rho, or None where it is not defined (fewer than 3 values, or all alike)."""
    if len(truth) < 3 or np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return None
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant input is ruled out above
        return float(spearmanr(predicted, truth).statistic)
