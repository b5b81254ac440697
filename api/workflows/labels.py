"""Measurements of a database as the labels of training examples."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from perfsage.device import Device
from perfsage.errors import UnknownNameError
from perfsage.metrics import Metric

if TYPE_CHECKING:
    from dataset.store import Store
    from perfsage.features import GraphFeatures

Target = tuple[str, Metric]
OperatorRow = tuple[int, int, float]
"""Subgraph, index and milliseconds."""


@dataclass(slots=True)
class Labels:
    """What was measured of one network, by device and metric; the latest measurement counts."""

    values: dict[Target, float] = field(default_factory=dict)
    unavailable: dict[Target, str] = field(default_factory=dict)
    operators: dict[str, list[OperatorRow]] = field(default_factory=lambda: defaultdict(list))

    def operator_latency_ms(self, features: GraphFeatures) -> dict[str, NDArray[np.float64]]:
        """Return float64[n] a device in the order of the features, NaN where an operator has no label."""
        rows = {(subgraph, index): row for row, (subgraph, index) in enumerate(features.location.tolist())}
        found = {}
        for device, operators in self.operators.items():
            column = np.full(features.operators, np.nan)
            for subgraph, index, latency_ms in operators:
                if (subgraph, index) in rows:
                    column[rows[subgraph, index]] = latency_ms
            found[device] = column
        return found


def stored_devices(store: Store, names: Sequence[str] = ()) -> list[Device]:
    """Return the devices of these names, or all; UnknownNameError for one that the database does not have."""
    known = {device.name: device for device in store.devices()}
    missing = [name for name in names if name not in known]
    if missing:
        listed = ", ".join(known) or "none"
        raise UnknownNameError(
            f"the database has no device {missing[0]!r}", where=store.url, hint=f"It has: {listed}."
        )
    return [known[name] for name in names] if names else list(known.values())


def read_labels(store: Store, devices: Sequence[Device]) -> dict[int, Labels]:
    """Return the labels by network number: headline figures only, positive values only."""
    labels: dict[int, Labels] = defaultdict(Labels)
    for device in devices:
        _read_device(store, device, labels)
        _read_operators(store, device, labels)
    return dict(labels)


def noise_floors(store: Store, devices: Sequence[Device]) -> dict[Target, float]:
    """Return by how many percent a repetition differs, where devices record it.

    It is the median over networks of the condition `noise`: how far the two fastest visits lie apart.
    """
    floors = {}
    for device in devices:
        frame = _headlines(store, device)
        for metric, group in frame.groupby("metric", observed=True):
            noise = [json.loads(text).get("noise") for text in group["conditions"]]
            known = [value for value in noise if isinstance(value, int | float)]
            if known:
                floors[device.name, Metric(str(metric))] = 100 * float(np.median(known))
    return floors


def _headlines(store: Store, device: Device) -> Any:
    """Return the measurements whose definition is the device's own for the metric, in order of time."""
    frame = store.frame(device=device.name).sort_values("measured_at", kind="stable")
    definition = frame["metric"].astype(str).map({m.value: text for m, text in device.metrics.items()})
    return frame[frame["definition"].astype(str) == definition]


def _read_device(store: Store, device: Device, labels: dict[int, Labels]) -> None:
    frame = _headlines(store, device)
    columns = (frame["network"], frame["metric"], frame["value"], frame["unavailable"])
    for number, metric, value, reason in zip(*(column.tolist() for column in columns), strict=True):
        target = (device.name, Metric(metric))
        if isinstance(reason, str):
            labels[number].unavailable[target] = reason
        elif value > 0:
            labels[number].values[target] = float(value)
            labels[number].unavailable.pop(target, None)


def _read_operators(store: Store, device: Device, labels: dict[int, Labels]) -> None:
    if Metric.LATENCY_MS not in device.metrics:
        return
    frame = store.operator_frame(device=device.name)
    frame = frame[(frame["metric"] == "latency_ms") & frame["value"].notna()]
    frame = frame[frame["definition"] == device.metrics[Metric.LATENCY_MS]]
    columns = (frame["network"], frame["subgraph"], frame["index"], frame["value"])
    for number, subgraph, index, value in zip(*(column.tolist() for column in columns), strict=True):
        labels[number].operators[device.name].append((subgraph, index, value))
