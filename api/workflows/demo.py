"""What `make demo` compares: predictions for networks not trained on, and what the tools say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from api.words import SCHEMA_VERSION
from api.workflows.predict import predict_files
from api.workflows.profile import profile_models
from dataset.zoo import build_network
from perfsage.measurement import Measurement
from perfsage.metrics import Metric
from perfsage.prediction import Interval
from profilers.profiler import Plan

DEVICES = ("host-cpu", "ethos-u55-128", "tflm")
SPACES = {"kws": 260, "classification": 160}
"""How many networks of each space are measured: about two minutes on two cores."""
HELD_OUT = ("mlperf-tiny-kws", "mlperf-tiny-vww", "mlperf-tiny-ic", "mlperf-tiny-ad")
TRAINING_SECONDS = 75.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One predicted value beside the tool's own; `error_percent` is signed, relative to the latter."""

    model: str
    device: str
    metric: Metric
    predicted: float
    low: float
    high: float
    actual: float
    mode: str

    @property
    def error_percent(self) -> float:
        """How far off the prediction is."""
        return (
            100.0 * (self.predicted / self.actual - 1.0) if self.actual else float(self.predicted > 0) * 100.0
        )

    @property
    def covered(self) -> bool:
        """Whether the interval holds the actual value."""
        return self.low <= self.actual <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        extra = {"unit": self.metric.unit, "error_percent": self.error_percent, "covered": self.covered}
        return {**asdict(self), "metric": self.metric.value, **extra}


def write_held_out(folder: Path) -> list[Path]:
    """Write the networks that are only predicted and compared; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in HELD_OUT:
        path = folder / f"{name}.tflite"
        path.write_bytes(build_network(name, "int8"))
        paths.append(path)
    return paths


def compare(paths: Sequence[Path], predictor: Path) -> list[Comparison]:
    """Predict and measure each model on every device; metrics that a device cannot give are left out."""
    outcomes = profile_models(paths, devices=DEVICES, plan=Plan())
    actual = {_key(m): m for outcome in outcomes for m in outcome.measurements if _is_headline(m)}
    report = predict_files(paths, predictor=str(predictor), devices=DEVICES)
    comparisons = []
    for prediction in report.predictions:
        for metric, value in prediction.metrics.items():
            measured = actual.get((prediction.model.model_id, prediction.device, metric))
            if isinstance(value, Interval) and measured is not None and measured.value is not None:
                name = Path(prediction.model.path or "").stem
                numbers = (value.value, value.low, value.high, measured.value)
                comparisons.append(Comparison(name, prediction.device, metric, *numbers, measured.mode.value))
    return comparisons


def _key(measurement: Measurement) -> tuple[str | None, str, Metric]:
    return measurement.model_id, measurement.device, measurement.metric


def _is_headline(measurement: Measurement) -> bool:
    from profilers.registry import describe

    headline = describe(measurement.device).metrics.get(measurement.metric)
    return measurement.operator is None and measurement.definition == headline


def document(comparisons: Sequence[Comparison], seconds: float) -> dict[str, Any]:
    """Return the JSON form of a demo's result."""
    rows = [comparison.to_dict() for comparison in comparisons]
    return {"schema_version": SCHEMA_VERSION, "elapsed_s": seconds, "comparisons": rows}
