"""From the network's raw outputs to predictions with intervals, reasons and warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfsage.features import GRAPH_COLUMNS, GraphFeatures
from perfsage.features.npu.geometry import geometry_of
from perfsage.metrics import Metric
from perfsage.models.calibration import Calibration
from perfsage.models.manifest import DeviceEntry, Manifest
from perfsage.models.physics import memory_candidates
from perfsage.models.session import RawOutputs
from perfsage.prediction import Interval, ModelSummary, OperatorCost, OperatorCosts, Prediction, Unavailable

METRIC_ROWS = {metric: row for row, metric in enumerate(Metric)}
ALL_FLOAT = 0.999
IDLE = "every operator is left to the CPU, and the figures are of the NPU alone"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to predict: who it is, and its features.

    `stale_signatures` counts the tensors whose shape signature states other sizes than their shape, and
    `signature_factor` says how many times as large one may be by the other.
    """

    summary: ModelSummary
    features: GraphFeatures
    stale_signatures: int = 0
    signature_factor: float = 1.0


def answer(
    subjects: Sequence[Subject],
    raw: RawOutputs,
    offsets: NDArray[np.int64],
    manifest: Manifest,
    calibration: Calibration,
    device_rows: Sequence[int],
    metrics: Sequence[Metric],
    operators: bool = True,
) -> Iterator[Prediction]:
    """Yield the predictions of every subject on the devices `device_rows`, subject by subject.

    Without `operators`, the operators' shares are left out: they are most of the work.
    """
    doubts = calibration.doubts([subject.features for subject in subjects], raw)
    half_widths = calibration.half_widths(raw, doubts)
    entries = ((row, manifest.devices[row]) for row in device_rows)
    rows = [
        (row, e, geometry_of(e.device.descriptors), _cells(e, metrics), _device_warning(e))
        for row, e in entries
    ]
    for place, subject in enumerate(subjects):
        begin, end = int(offsets[place]), int(offsets[place + 1])
        places = _places(subject.features) if operators else None
        # Lists of Python's own floats: single numbers out of arrays take longer than all the rest.
        log_values, widths = raw.log_values[place].tolist(), half_widths[place].tolist()
        all_float = subject.features.total("float_share") >= ALL_FLOAT
        idle = subject.features.idle_accelerators
        for row, entry, geometry, cells, warnings in rows:
            reason = entry.float_reason if all_float else None
            reason = reason or (IDLE if geometry is not None and idle[geometry] else None)
            stale = _stale_warning(entry, subject)
            # The tool may see either: the interval reaches about as far as that can matter.
            farther = math.log(subject.signature_factor) if stale else 0.0
            values = {
                cell.metric: cell.missing(reason)
                or _interval(cell, subject.features, log_values[row], widths[row], farther, calibration.level)
                for cell in cells
            }
            yield Prediction(
                model=subject.summary,
                device=entry.device.name,
                metrics=values,
                operators=_operators(
                    places, raw.operator_latency[begin:end, row], values.get(Metric.LATENCY_MS)
                ),
                in_distribution=not (doubts[place] or stale or entry.inferred),
                warnings=(*warnings, *doubts[place], *stale, *_float_warning(entry, subject.features)),
            )


class _Cell(NamedTuple):
    """What is the same for every network about one metric of one device.

    `exact` is the column of GRAPH_COLUMNS that is the value where it is known; None: the network says it.
    """

    metric: Metric
    row: int
    not_given: Unavailable | None
    untrained: Unavailable | None
    exact: int | None

    def missing(self, reason: str | None) -> Unavailable | None:
        """Return why there is no value; `reason` is given for networks that a device cannot run at all."""
        if self.not_given is None and reason is not None:
            return Unavailable(reason)
        return self.not_given or self.untrained


def _cells(entry: DeviceEntry, metrics: Sequence[Metric]) -> list[_Cell]:
    made = []
    for metric in metrics:
        not_given, untrained = _not_given(entry, metric), _untrained(entry, metric)
        made.append(
            _Cell(
                metric,
                METRIC_ROWS[metric],
                Unavailable(not_given) if not_given else None,
                Unavailable(untrained) if untrained else None,
                GRAPH_COLUMNS.index(entry.exact[metric]) if metric in entry.exact else None,
            )
        )
    return made


def _interval(
    cell: _Cell,
    features: GraphFeatures,
    log_values: list[float],
    widths: list[float],
    farther: float,
    level: float,
) -> Interval:
    exact = 0.0 if cell.exact is None else float(features.totals[cell.exact])
    if exact > 0:
        return Interval(exact, exact, exact, level)
    value, factor = math.exp(log_values[cell.row]), math.exp(min(widths[cell.row] + farther, 50.0))
    return Interval(value, value / factor, value * factor, level)


def exact_values(entry: DeviceEntry, metric: Metric, totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values that need no network, float64[graphs], from graph totals; 0 where there is none."""
    if metric not in entry.exact:
        return np.zeros(len(totals))
    return memory_candidates(totals)[entry.exact[metric]]


def unavailable_reason(entry: DeviceEntry, metric: Metric, features: GraphFeatures) -> str | None:
    """Return why `metric` cannot be predicted for these features on this device, or None."""
    if (not_given := _not_given(entry, metric)) is not None:
        return not_given
    if entry.float_reason is not None and features.total("float_share") >= ALL_FLOAT:
        return entry.float_reason
    geometry = geometry_of(entry.device.descriptors)
    if geometry is not None and features.idle_accelerators[geometry]:
        return IDLE
    return _untrained(entry, metric)


def _not_given(entry: DeviceEntry, metric: Metric) -> str | None:
    if metric in entry.device.metrics:
        return None
    return entry.device.unavailable.get(metric) or f"{entry.device.name} does not give {metric.value}"


def _untrained(entry: DeviceEntry, metric: Metric) -> str | None:
    if entry.labels.get(metric) or metric in entry.exact or entry.inferred:
        return None
    return f"the predictor was trained without {metric.value} of {entry.device.name}"


def _device_warning(entry: DeviceEntry) -> tuple[str, ...]:
    if entry.device.kind == "cpu" and entry.device.description:
        return (f"{entry.device.name} is {entry.device.description}: another CPU has other figures",)
    if not entry.inferred:
        return ()
    return (f"{entry.device.name} was never measured: predicted from its parameters and its relatives",)


def _stale_warning(entry: DeviceEntry, subject: Subject) -> tuple[str, ...]:
    """Vela 5 takes a tensor's signature for its shape; LiteRT and TFLM take the shape."""
    if not subject.stale_signatures or entry.device.tool != "vela":
        return ()
    count = subject.stale_signatures
    return (
        f"the shape signatures of {count} tensors contradict their shapes: Vela and these figures go by the "
        f"former, which differ by {subject.signature_factor:.1f} times or so; convert the model again",
    )


def _float_warning(entry: DeviceEntry, features: GraphFeatures) -> tuple[str, ...]:
    if entry.float_reason is None:
        return ()
    share = features.total("float_share")
    if not 0 < share < ALL_FLOAT:
        return ()
    return (f"{share:.0%} of the operators are float and stay on the CPU: the figures leave them out",)


Places = tuple[Sequence[int], Sequence[int], Sequence[str]]
"""Subgraph, index and type of each operator: the same for every device, so they are made once."""


def _places(features: GraphFeatures) -> Places:
    subgraphs, indices = features.location.T.tolist()
    return subgraphs, indices, features.type_names.tolist()


def _operators(
    places: Places | None, shares: NDArray[np.float32], latency: Interval | Unavailable | None
) -> Sequence[OperatorCost]:
    """Return each operator's share, scaled so that they add up to the latency that is reported."""
    if places is None or not isinstance(latency, Interval):
        return ()
    scaled = shares.astype(np.float64) * (latency.value / max(float(shares.sum(dtype=np.float64)), 1e-300))
    return OperatorCosts(*places, scaled.tolist())
