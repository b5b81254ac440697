"""Results as plain values of JSON, as workers of a cluster send them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from api.workflows.lanes import Measured
from dataset.records import Network
from perfsage.device import Device
from perfsage.measurement import Measurement, Mode, OperatorRef, Statistic
from perfsage.metrics import Metric


def result_to_plain(result: Measured) -> dict[str, Any]:
    """Return what `result_from_plain` takes."""
    return {
        "device": result.device,
        "failure": result.failure,
        "measurements": [_measurement_to_plain(measurement) for measurement in result.measurements],
    }


def result_from_plain(network: Network, values: dict[str, Any]) -> Measured:
    """Return the result of one device for a network."""
    measurements = tuple(_measurement_from_plain(row) for row in values["measurements"])
    return Measured(values["device"], network, measurements, values["failure"])


def device_to_plain(device: Device) -> dict[str, Any]:
    """Return what `device_from_plain` takes."""
    values = asdict(device)
    for name in ("metrics", "unavailable"):
        values[name] = {str(metric): text for metric, text in values[name].items()}
    return values


def device_from_plain(values: dict[str, Any]) -> Device:
    """Return a device that another machine described."""
    named = {
        name: {Metric(metric): text for metric, text in values[name].items()}
        for name in ("metrics", "unavailable")
    }
    return Device(**{**values, **named})


def _measurement_to_plain(measurement: Measurement) -> dict[str, Any]:
    return {**asdict(measurement), "measured_at": measurement.measured_at.isoformat()}


def _measurement_from_plain(row: dict[str, Any]) -> Measurement:
    operator = row["operator"]
    return Measurement(
        **{
            **row,
            "metric": Metric(row["metric"]),
            "mode": Mode(row["mode"]),
            "statistic": Statistic(row["statistic"]),
            "samples": tuple(row["samples"]),
            "operator": None if operator is None else OperatorRef(**operator),
            "measured_at": datetime.fromisoformat(row["measured_at"]),
        }
    )
