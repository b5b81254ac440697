"""What training reads: graphs as arrays, with whatever labels each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perfsage.features import GraphFeatures
from perfsage.metrics import Metric

Target = tuple[str, Metric]
"""A device's name and one of its metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One graph with its labels.

    `labels` holds positive values in the metric's unit; `unavailable` the reasons where a device gave none.
    `group` names graphs that must never be parted by a split (isomorphic structures); it is the graph id by
    default. `operator_latency_ms` holds, by device, float64[n] in the order of the features, NaN where
    unknown.
    """

    features: GraphFeatures
    labels: Mapping[Target, float]
    unavailable: Mapping[Target, str] = field(default_factory=dict)
    operator_latency_ms: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    space: str = "unknown"
    family: str = "unknown"
    group: str = ""

    @property
    def split_key(self) -> str:
        """What a random split draws by."""
        return self.group or self.features.graph_id


def label_matrix(examples: Iterable[Example], device: str) -> NDArray[np.float64]:
    """Return float64[examples, metrics] for one device; NaN marks what was not measured."""
    rows = [[example.labels.get((device, metric), np.nan) for metric in Metric] for example in examples]
    return np.array(rows, dtype=np.float64).reshape(-1, len(Metric))


def label_tensor(examples: Iterable[Example], devices: Iterable[str]) -> NDArray[np.float64]:
    """Return float64[examples, devices, metrics] in the order of `Metric`; NaN where there is no label."""
    items = list(examples)
    return np.stack([label_matrix(items, device) for device in devices], axis=1)
