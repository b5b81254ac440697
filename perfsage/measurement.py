"""One measured, simulated or imported value, with everything needed to judge it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric


class Mode(StrEnum):
    """How a value came to be."""

    MEASURED = "measured"
    SIMULATED = "simulated"
    PREDICTED = "predicted"
    IMPORTED = "imported"


class Statistic(StrEnum):
    """What a value is of its samples."""

    MIN = "min"
    MEDIAN = "median"
    MEAN = "mean"
    PEAK = "peak"
    EXACT = "exact"


@dataclass(frozen=True, slots=True)
class OperatorRef:
    """An operator, identified as everywhere by subgraph and index."""

    subgraph: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A value of one metric for one model on one device, or the reason why there is none.

    `value` is in `metric.unit`; `samples` are the raw readings in the same unit. Exactly one of
    `value` and `unavailable` is set. `definition` says what was counted (`arena_total`, `sram_peak`,
    `heap_peak`, `model_file`, ...); where it equals the device's own definition of the metric, this is
    the device's headline figure. `operator` is set when the value belongs to a single operator.
    """

    model_id: str
    graph_id: str
    device: str
    metric: Metric
    definition: str
    mode: Mode
    statistic: Statistic
    tool: str
    tool_version: str
    value: float | None = None
    unavailable: str | None = None
    samples: tuple[float, ...] = ()
    operator: OperatorRef | None = None
    conditions: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    measured_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        """Refuse values that are neither finite nor explained."""
        if (self.value is None) == (self.unavailable is None):
            raise InvalidInputError(
                "a measurement needs either a value or the reason why there is none",
                where=f"{self.device} {self.metric}",
            )
        if self.value is not None and not (math.isfinite(self.value) and self.value >= 0):
            raise InvalidInputError(
                f"{self.value!r} is not a value of {self.metric}", where=f"device {self.device}"
            )
