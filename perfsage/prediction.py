"""What the predictor answers. The command line, the Python API and the service share these types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from perfsage.metrics import Metric

SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class Interval:
    """A predicted value with the interval [low, high] that covers the truth with probability `level`."""

    value: float
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a metric cannot be predicted for this model on this device."""

    reason: str


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator's share of the predicted latency; the shares add up to the total."""

    subgraph: int
    index: int
    type: str
    latency_ms: float


class OperatorCosts(Sequence[OperatorCost]):
    """The shares of all operators of one prediction as columns; each object is made when it is looked at.

    A network of 100 operators on 12 devices has 1,200 of them, and most callers look at none. Equal to any
    sequence of the same shares.
    """

    __slots__ = ("_columns",)

    def __init__(
        self, subgraph: Sequence[int], index: Sequence[int], type: Sequence[str], latency_ms: Sequence[float]
    ) -> None:
        self._columns = (subgraph, index, type, latency_ms)

    def __len__(self) -> int:
        return len(self._columns[3])

    @overload
    def __getitem__(self, place: int) -> OperatorCost: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[OperatorCost]: ...
    def __getitem__(self, place: int | slice) -> OperatorCost | Sequence[OperatorCost]:
        subgraph, index, type_, latency_ms = self._columns
        if isinstance(place, slice):
            return OperatorCosts(subgraph[place], index[place], type_[place], latency_ms[place])
        return OperatorCost(subgraph[place], index[place], type_[place], latency_ms[place])

    def __iter__(self) -> Iterator[OperatorCost]:
        return map(OperatorCost, *self._columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """Which model a prediction is about; `macs` counts the operators whose cost is known."""

    path: str | None
    model_id: str | None
    graph_id: str
    operators: int
    macs: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """Every requested metric of one model on one device."""

    model: ModelSummary
    device: str
    metrics: Mapping[Metric, Interval | Unavailable]
    operators: Sequence[OperatorCost]
    in_distribution: bool
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, the same on the command line and over REST."""
        model = self.model
        return {
            "model": {
                "path": model.path,
                "model_id": model.model_id,
                "graph_id": model.graph_id,
                "operators": model.operators,
                "macs": model.macs,
            },
            "device": self.device,
            "metrics": {metric.value: _metric_dict(metric, value) for metric, value in self.metrics.items()},
            "operators": [
                {"subgraph": o.subgraph, "index": o.index, "type": o.type, "latency_ms": o.latency_ms}
                for o in self.operators
            ],
            "in_distribution": self.in_distribution,
            "warnings": list(self.warnings),
        }


def _metric_dict(metric: Metric, value: Interval | Unavailable) -> dict[str, Any]:
    if isinstance(value, Unavailable):
        return {"value": None, "availability": "unavailable", "reason": value.reason}
    return {
        "value": value.value,
        "low": value.low,
        "high": value.high,
        "level": value.level,
        "unit": metric.unit,
        "mode": "predicted",
    }


@dataclass(frozen=True, slots=True)
class PredictorInfo:
    """Which predictor answered: `version` is a hash of its weights and manifest."""

    name: str
    version: str
    feature_schema: str
    trained_on_graphs: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Report:
    """An answer to one request: all predictions and the predictor that made them."""

    predictor: PredictorInfo
    predictions: tuple[Prediction, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the whole answer."""
        info = self.predictor
        return {
            "schema_version": SCHEMA_VERSION,
            "predictor": {
                "name": info.name,
                "version": info.version,
                "feature_schema": info.feature_schema,
                "trained_on_graphs": info.trained_on_graphs,
                "created_at": info.created_at,
            },
            "predictions": [prediction.to_dict() for prediction in self.predictions],
        }
