"""Predictions as measurements of mode `predicted`, so that a study stores one kind of thing."""

from __future__ import annotations

from typing import Any

from perfsage.device import Device
from perfsage.measurement import Measurement, Mode, OperatorRef, Statistic
from perfsage.metrics import Metric
from perfsage.prediction import Interval, Prediction
from perfsage.predictor import Predictor
from profilers.profiler import Model


def predicted_measurements(predictor: Predictor, device: Device, model: Model) -> tuple[Measurement, ...]:
    """Return every metric of the device, and each operator's share of the latency."""
    [prediction] = predictor.predict([model.graph], devices=[device.name]).predictions
    common: dict[str, Any] = {
        "device": device.name,
        "graph_id": model.graph.graph_id,
        "model_id": model.graph.model_id,
        "mode": Mode.PREDICTED,
        "tool": f"perfsage predictor {predictor.info.name}",
        "tool_version": predictor.version,
    }
    found = [_metric(device, prediction, metric, common) for metric in Metric]
    definition = device.metrics.get(Metric.LATENCY_MS)
    if definition is not None:
        found += [
            Measurement(
                metric=Metric.LATENCY_MS, definition=definition, statistic=Statistic.MEDIAN,
                value=cost.latency_ms, operator=OperatorRef(cost.subgraph, cost.index), **common,
            )
            for cost in prediction.operators
        ]  # fmt: skip
    return tuple(found)


def _metric(device: Device, prediction: Prediction, metric: Metric, common: dict[str, Any]) -> Measurement:
    answer = prediction.metrics[metric]
    definition = device.metrics.get(metric, "unavailable")
    statistic = Statistic.MEDIAN
    if not isinstance(answer, Interval):
        return Measurement(
            metric=metric, definition=definition, statistic=statistic, unavailable=answer.reason, **common
        )
    conditions = {
        "low": answer.low,
        "high": answer.high,
        "level": answer.level,
        "in_distribution": prediction.in_distribution,
    }
    return Measurement(
        metric=metric, definition=definition, statistic=statistic, value=answer.value,
        conditions=conditions, **common,
    )  # fmt: skip
