"""Results of MLPerf Tiny runs, and the three files in which each is kept: results.txt, log.txt, results.json.

The words of results.txt are those of the official runner (mlcommons/tiny, benchmark/runner, Apache-2.0).
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from profilers.serial.settings import OFFICIAL_ITERATIONS, OFFICIAL_WINDOW_S
from profilers.serial.windows import Sample


class RunMode(StrEnum):
    """What a run is for; each needs its own."""

    PERFORMANCE = "performance"
    ACCURACY = "accuracy"
    ENERGY = "energy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One network's run; `rules_met` is false where a window was shorter than the rules ask."""

    benchmark: str
    mode: RunMode
    folder: Path
    simulated: bool
    iterations: int
    samples: tuple[Sample, ...] = ()
    answers: int = 0
    top1: float | None = None
    auc: float | None = None

    @property
    def rules_met(self) -> bool:
        """Whether every window was long enough, on a real board."""
        enough = all(s.window_s >= OFFICIAL_WINDOW_S for s in self.samples)
        return not self.simulated and enough and self.iterations >= OFFICIAL_ITERATIONS

    @property
    def inferences_per_s(self) -> float | None:
        """Median throughput of the windows."""
        return statistics.median(1 / s.latency_s for s in self.samples) if self.samples else None

    @property
    def energy_uj(self) -> float | None:
        """Median energy of an inference."""
        energies = [s.energy_mj * 1e3 for s in self.samples if s.energy_mj is not None]
        return statistics.median(energies) if energies else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "benchmark": self.benchmark,
            "mode": self.mode.value,
            "folder": str(self.folder),
            "simulated": self.simulated,
            "rules_met": self.rules_met,
            "iterations": self.iterations,
            "inferences_per_s": self.inferences_per_s,
            "energy_uj_per_inference": self.energy_uj,
            "top1": self.top1,
            "auc": self.auc,
            "answers": self.answers,
            "windows": [asdict(sample) for sample in self.samples],
        }


def write_result(result: Result, log: Sequence[str]) -> None:
    """Write results.txt, log.txt and results.json into the result's folder."""
    result.folder.mkdir(parents=True, exist_ok=True)
    (result.folder / "results.txt").write_text("\n".join(_summary(result)) + "\n", encoding="utf-8")
    (result.folder / "log.txt").write_text("\n".join(log) + "\n", encoding="utf-8")
    document = json.dumps(result.to_dict(), indent=2, allow_nan=False)
    (result.folder / "results.json").write_text(document + "\n", encoding="utf-8")


def _summary(result: Result) -> Iterator[str]:
    stamp = time.strftime("%m%d.%H%M%S") + " ulp-mlperf: "
    if result.simulated:
        yield f"{stamp}SIMULATED: the board is emulated; no result of a submission"
    if result.mode is RunMode.ACCURACY:
        if result.top1 is not None:
            yield f"{stamp}Top 1% = {100 * result.top1:.1f}"
        yield f"{stamp}AUC = {result.auc:.3f}" if result.auc is not None else f"{stamp}AUC needs two classes"
        return
    for number, sample in enumerate(result.samples):
        yield from _window_lines(number, sample, result)
    rule = "---------------------------------------------------------"
    yield stamp + rule
    if result.mode is RunMode.ENERGY and result.energy_uj is not None:
        yield f"{stamp}Median energy cost is {result.energy_uj:.4f} uJ/inf."
    if result.inferences_per_s is not None:
        yield f"{stamp}Median throughput is {result.inferences_per_s:10.3f} inf./sec."
    yield stamp + rule


def _window_lines(number: int, sample: Sample, result: Result) -> Iterator[str]:
    if sample.energy_mj is not None:
        total_uj = sample.energy_mj * 1e3 * result.iterations
        yield f"Energy data for trial {number}"
        yield f"  Elapsed time  : {sample.window_s}"
        yield f"  Inferences    : {result.iterations}"
        yield f"  Power         : {(sample.average_power_w or 0.0) * 1e3:.4f} mW."
        yield f"  Total Energy  : {total_uj:.3f} uJ"
        yield f"  Energy/Inf    : {sample.energy_mj * 1e3:.3f} uJ/inf"
        return
    met = sample.window_s >= OFFICIAL_WINDOW_S
    yield f"Performance results for window {number + 1}"
    yield f"    # Inferences : {result.iterations}"
    yield f"    Runtime: {sample.window_s} sec."
    yield f"    Throughput: {1 / sample.latency_s} inf./sec."
    yield f"    Runtime requirements have {'' if met else 'NOT '}been met."
