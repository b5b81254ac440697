"""What a generation of candidates costs, asked in one call: of a predictor, or of a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfsage.errors import PerfsageError, UnknownNameError
from perfsage.metrics import Metric
from perfsage.nas.budget import Budget
from perfsage.prediction import Interval, Prediction, Unavailable
from perfsage.predictor import Predictor

if TYPE_CHECKING:
    from perfsage.client import Client

Quantity = tuple[str, Metric]
"""A metric on a device."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one candidate costs, and by how much it exceeds each budget, in the budgets' order.

    `error` says why nothing could be predicted; such a candidate exceeds every budget.
    """

    values: Mapping[Quantity, Interval | Unavailable]
    excess: tuple[float, ...]
    in_distribution: bool
    error: str | None = None

    @property
    def is_within(self) -> bool:
        """Whether every budget holds."""
        return self.error is None and all(excess <= 0 for excess in self.excess)

    def value(self, device: str, metric: Metric) -> float:
        """Return a predicted value, infinite where there is none."""
        found = self.values.get((device, metric))
        return found.value if isinstance(found, Interval) else float("inf")


class Costs:
    """Asks a predictor, or a service through its client, for what budgets and objectives need.

    A client also takes candidates that the service builds itself (`perfsage.client.Candidate`).
    """

    def __init__(
        self, source: Predictor | Client, budgets: Sequence[Budget], *, also: Sequence[Quantity] = ()
    ) -> None:
        self.budgets = tuple(budgets)
        self._source = source
        quantities = [*((budget.device, budget.metric) for budget in budgets), *also]
        self._quantities = tuple(dict.fromkeys(quantities))
        self._devices = list(dict.fromkeys(device for device, _ in quantities))
        self._metrics = list(dict.fromkeys(metric.value for _, metric in quantities))
        known = source.devices if isinstance(source, Predictor) else source.devices()
        names = [device.name for device in known]
        for device in self._devices:
            if device not in names:
                hint = f"Known devices: {', '.join(names)}."
                raise UnknownNameError(f"there is no device {device!r}", where="budgets", hint=hint)

    def __call__(self, models: Sequence[Any]) -> list[Cost]:
        """Return the cost of each model, in their order."""
        if not isinstance(self._source, Predictor):
            answers = self._source.predict(models, devices=self._devices, metrics=self._metrics)
            return [self._cost(answer.predictions, answer.error) for answer in answers]
        report = self._source.predict(
            list(models), devices=self._devices, metrics=self._metrics, operators=False
        )
        count = len(self._devices)
        rows = [report.predictions[start * count : (start + 1) * count] for start in range(len(models))]
        return [self._cost(row, None) for row in rows]

    def _cost(self, predictions: Sequence[Prediction], error: PerfsageError | None) -> Cost:
        if error is not None:
            return Cost({}, (float("inf"),) * len(self.budgets), False, str(error))
        found = {prediction.device: prediction for prediction in predictions}
        values = {(device, metric): found[device].metrics[metric] for device, metric in self._quantities}
        excess = tuple(budget.excess(values[budget.device, budget.metric]) for budget in self.budgets)
        return Cost(values, excess, all(prediction.in_distribution for prediction in predictions))
