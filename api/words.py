"""The JSON words that the command line and the service share, beside those of `perfsage.prediction`."""

from __future__ import annotations

from typing import Any

from perfsage.device import Device
from perfsage.measurement import Measurement

SCHEMA_VERSION = "1.0"


def device_dict(device: Device) -> dict[str, Any]:
    """Return a device with its metrics' units and definitions, and why the others are unavailable."""
    return {
        "name": device.name,
        "kind": device.kind,
        "description": device.description,
        "metrics": {m.value: {"unit": m.unit, "definition": text} for m, text in device.metrics.items()},
        "unavailable": {metric.value: reason for metric, reason in device.unavailable.items()},
        "descriptors": dict(device.descriptors),
        "tool": device.tool,
        "tool_version": device.tool_version,
        "source": device.source,
    }


def measurement_dict(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement; a value that could not be had is null with its reason."""
    body: dict[str, Any] = {
        "model_id": measurement.model_id,
        "graph_id": measurement.graph_id,
        "device": measurement.device,
        "metric": measurement.metric.value,
        "definition": measurement.definition,
        "value": measurement.value,
        "unit": measurement.metric.unit,
        "mode": measurement.mode.value,
        "statistic": measurement.statistic.value,
        "samples": list(measurement.samples),
        "tool": measurement.tool,
        "tool_version": measurement.tool_version,
        "conditions": dict(measurement.conditions),
        "measured_at": measurement.measured_at.isoformat(),
    }
    if measurement.unavailable is not None:
        body |= {"availability": "unavailable", "reason": measurement.unavailable}
    if measurement.operator is not None:
        body["operator"] = {"subgraph": measurement.operator.subgraph, "index": measurement.operator.index}
    return body
