"""Predictions for devices that were added to a predictor from measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.answers import METRIC_ROWS, Subject, exact_values, unavailable_reason
from perfsage.features import GraphFeatures
from perfsage.metrics import Metric
from perfsage.models.adapted import AdaptedMetric, Facts
from perfsage.models.adapted_store import AdaptedDevice
from perfsage.models.session import RawOutputs
from perfsage.prediction import Interval, OperatorCost, Prediction, Unavailable

FAR = 2.0
"""Sums of costs beyond this many times the measured ones are flagged."""
LARGEST_HALF_WIDTH = 50.0
UNKNOWN_HALF_WIDTH = math.log(10.0)
"""What is added to an interval, in log space, when every operator is of a kind that was never measured: five
phones and boards, learned from one family of networks, were up to 3.6 times off on another, half unknown."""


def base_values(raw: RawOutputs, place: int, metric: Metric) -> NDArray[np.float64]:
    """Return what the network says of the base devices for one graph, float64[d] in the metric's unit."""
    return np.asarray(np.exp(raw.log_values[place, :, METRIC_ROWS[metric]].astype(np.float64)))


def answer_adapted(
    device: AdaptedDevice,
    subject: Subject,
    raw: RawOutputs,
    place: int,
    operators: slice,
    metrics: Sequence[Metric],
    level: float,
) -> Prediction:
    """Return the prediction of one subject, the `place`-th of `raw` with the operators' rows `operators`.

    Where there are no such rows, the operators' shares are left out.
    """
    fits = {metric: device.metrics[metric] for metric in metrics if metric in device.metrics}
    shared = Facts.of(subject.features, np.zeros(0))
    facts = {metric: replace(shared, base=base_values(raw, place, metric)) for metric in fits}
    values = {
        metric: _value(device, metric, subject.features, fits.get(metric), facts.get(metric), level)
        for metric in metrics
    }
    doubts = _doubts([(fits[metric], facts[metric]) for metric in fits])
    latency = values.get(Metric.LATENCY_MS)
    costs: tuple[OperatorCost, ...] = ()
    if operators.stop > operators.start and isinstance(latency, Interval) and Metric.LATENCY_MS in fits:
        shares = _shares(fits[Metric.LATENCY_MS], facts[Metric.LATENCY_MS], raw.operator_latency[operators])
        costs = _operator_costs(subject.features, shares, latency.value)
    return Prediction(
        model=subject.summary,
        device=device.entry.device.name,
        metrics=values,
        operators=costs,
        in_distribution=not doubts,
        warnings=(f"{device.entry.device.name} was added from {_count(device)} measurements", *doubts),
    )


def _count(device: AdaptedDevice) -> int:
    return max(device.entry.labels.values(), default=0)


def _value(
    device: AdaptedDevice,
    metric: Metric,
    features: GraphFeatures,
    fitted: AdaptedMetric | None,
    facts: Facts | None,
    level: float,
) -> Interval | Unavailable:
    reason = unavailable_reason(device.entry, metric, features)
    if reason is not None:
        return Unavailable(reason)
    exact = float(exact_values(device.entry, metric, features.totals[None])[0])
    if exact > 0:
        return Interval(exact, exact, exact, level)
    if fitted is None or facts is None:
        return Unavailable(f"{metric.value} equals a total of the graph that is not known for this model")
    value = fitted.value(facts)
    factor = math.exp(min(_half_width(fitted, facts), LARGEST_HALF_WIDTH))
    return Interval(value, value / factor, value * factor, level)


def _half_width(fitted: AdaptedMetric, facts: Facts) -> float:
    """Return half of the interval in log space, wider for a network beyond those measured."""
    terms = facts.columns.terms[:, 1:]
    _, known = facts.columns.places(fitted.kinds)
    unknown = float((terms[~known].sum(axis=0) / np.maximum(terms.sum(axis=0), 1e-9)).max(initial=0.0))
    return fitted.half_width * (1.0 + math.log(fitted.reach(facts))) + UNKNOWN_HALF_WIDTH * unknown


def _doubts(judged: Sequence[tuple[AdaptedMetric, Facts]]) -> tuple[str, ...]:
    """Return why a network is unlike those measured."""
    found: dict[str, None] = {}
    for fitted, facts in judged:
        unknown = fitted.unknown_kinds(facts)
        if unknown:
            found[f"operators of kinds never measured on this device: {', '.join(unknown[:8])}"] = None
        reach = fitted.reach(facts)
        if reach > FAR:
            found[f"its costs lie {reach:.1f} times beyond those measured on this device"] = None
    return tuple(found)


def _shares(fitted: AdaptedMetric, facts: Facts, base_latency: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what each operator costs before scaling: what is summed, and a part of the constant each."""
    own = fitted.operator_costs(facts.columns) + base_latency.astype(np.float64) @ fitted.base_rates
    return np.asarray(own + max(fitted.constant, 1e-300) / len(own))


def _operator_costs(
    features: GraphFeatures, shares: NDArray[np.float64], latency_ms: float
) -> tuple[OperatorCost, ...]:
    scaled = shares * (latency_ms / float(shares.sum()))
    names, places = features.type_names.tolist(), features.location.tolist()
    return tuple(
        OperatorCost(subgraph, index, name, value)
        for (subgraph, index), name, value in zip(places, names, scaled.tolist(), strict=True)
    )
