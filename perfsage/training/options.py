"""What a training run can be told, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Settings of a run; the defaults suit hundreds to thousands of graphs on two cores.

    Training ends after `epochs`, or earlier when `time_limit_s` is used up: the learning rate is scheduled
    on whichever comes first.
    """

    name: str = "predictor"
    epochs: int = 100
    time_limit_s: float | None = None
    batch_graphs: int = 12
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    width: int = 72
    described_width: int = 40
    """The width of the trunk of described accelerators, of which formulas leave little to learn."""
    layers: int = 2
    operator_weight: float = 0.5
    """Weight of the per-operator labels in the loss."""
    device_dropout: float = 0.2
    """How often a described device is seen without its own embedding."""
    calibration_share: float = 0.1
    test_share: float = 0.1
    level: float = 0.9
    seed: int = 0
    accelerator: str = "auto"
    """`auto` (a GPU where there is one), `cpu` or `cuda`."""
    checkpoint_every_s: float = 60.0
    resume: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands; `share` is in [0, 1] and `loss` the mean absolute log-ratio over the last epoch."""

    epoch: int
    share: float
    loss: float
    learning_rate: float
    elapsed_s: float


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Score:
    """How well one device and metric of one space (`all` for every space) was predicted on the test split.

    Errors are percentages, shares are in [0, 1]; `width` is the median of (high - low) / value.
    `baseline_mape` holds the baselines' errors on the same graphs; `noise_floor_percent` is None where the
    label's noise is not known.
    """

    device: str
    metric: str
    space: str
    n: int
    mape: float
    median_ape: float
    within_5: float
    within_10: float
    spearman: float | None
    coverage: float
    width: float
    baseline_mape: Mapping[str, float]
    noise_floor_percent: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came of a run: where the predictor lies, and how good it is."""

    output_dir: Path
    graphs: Mapping[str, int]
    """Number of graphs by part of the split: train, calibration, test."""
    epochs: int
    elapsed_s: float
    scores: tuple[Score, ...]
