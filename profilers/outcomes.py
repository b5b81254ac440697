"""Building outcomes: what all measurements of one model by one tool have in common, said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perfsage.device import Device
from perfsage.measurement import Measurement, Mode, OperatorRef, Statistic
from perfsage.metrics import Metric
from profilers.profiler import Model, Outcome

Conditions = Mapping[str, str | int | float | bool]


@dataclass(slots=True)
class Recorder:
    """Collects the measurements of one model on one device."""

    device: Device
    model: Model
    mode: Mode
    conditions: Conditions = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def add(
        self,
        metric: Metric,
        value: float,
        *,
        definition: str | None = None,
        statistic: Statistic = Statistic.EXACT,
        mode: Mode | None = None,
        samples: Sequence[float] = (),
        operator: OperatorRef | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        """Record a value in the metric's unit; without `definition` it is the device's headline figure."""
        self._append(metric, definition, statistic, mode, value, None, samples, operator, conditions)

    def unavailable(self, metric: Metric, reason: str, *, definition: str | None = None) -> None:
        """Record why there is no value."""
        self._append(metric, definition, Statistic.EXACT, None, None, reason, (), None, None)

    def _append(
        self,
        metric: Metric,
        definition: str | None,
        statistic: Statistic,
        mode: Mode | None,
        value: float | None,
        reason: str | None,
        samples: Sequence[float],
        operator: OperatorRef | None,
        conditions: Conditions | None,
    ) -> None:
        self.measurements.append(
            Measurement(
                model_id=self.model.graph.model_id,
                graph_id=self.model.graph.graph_id,
                device=self.device.name,
                metric=metric,
                definition=definition or self.device.metrics[metric],
                mode=mode or self.mode,
                statistic=statistic,
                tool=self.device.tool,
                tool_version=self.device.tool_version,
                value=value,
                unavailable=reason,
                samples=tuple(samples),
                operator=operator,
                conditions={**self.conditions, **(conditions or {})},
            )
        )

    def outcome(self, *, failure: str | None = None, notes: Sequence[str] = ()) -> Outcome:
        """Return what has been recorded as the model's outcome."""
        return Outcome(self.model, tuple(self.measurements), failure, tuple(notes))


def without_values(recorder: Recorder, reason: str, *, failed: bool, notes: Sequence[str] = ()) -> Outcome:
    """Return an outcome in which every metric of the device is unavailable for the same reason.

    `failed` says that the tool crashed, hung or refused, rather than that the device cannot run the model.
    """
    recorder.measurements.clear()
    for metric in recorder.device.metrics:
        recorder.unavailable(metric, reason)
    return recorder.outcome(failure=reason if failed else None, notes=notes)
