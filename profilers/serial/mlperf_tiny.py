"""Runs MLPerf Tiny's reference networks on a board in the official way, and files the results.

    RESULTS/SYSTEM/{ad,ic,kws,vww}/{performance,accuracy,energy}/{results.txt,log.txt,results.json}

Five inputs, windows of at least 10 s and 10 inferences, medians. Firmware with the upload extension gets
all networks one after the other; other firmware runs the one that it holds.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from perfsage.errors import InvalidInputError, StableDeviceError
from perfsage.graph import Graph, read_graph
from profilers.serial.accuracy import Answer, mean_auc, top1
from profilers.serial.benchmarks import (
    BENCHMARKS,
    Benchmark,
    Stimulus,
    anomaly_score,
    find_benchmark,
    find_model,
    random_stimulus,
    read_stimuli,
    tensor_bytes,
)
from profilers.serial.extension import TickUnit
from profilers.serial.profiler import find_board
from profilers.serial.session import Session
from profilers.serial.settings import OFFICIAL_INPUTS, OFFICIAL_ITERATIONS, OFFICIAL_WINDOW_S
from profilers.serial.windows import EdgeMonitor, Sample, Windows

WINDOW_TIMEOUT_S = 600.0


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


@dataclass(slots=True)
class _Log:
    """What went over the line, with the time of day as the official log has it."""

    lines: list[str] = field(default_factory=list)

    def add(self, direction: str, text: str) -> None:
        self.lines.append(f"{time.strftime('%m%d.%H%M%S')} {direction} {text[:200]}")


def run_mlperf_tiny(
    device: str,
    *,
    results: Path,
    mode: RunMode = RunMode.PERFORMANCE,
    models: Path | None = None,
    dataset: Path | None = None,
    networks: Sequence[str] = (),
    window_s: float = OFFICIAL_WINDOW_S,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Run the reference networks on `device` (`serial:NAME`) and write their results under `results`.

    `models` is the folder of the four .tflite files, for boards that take uploads. `dataset` holds a folder a
    network (`kws01`, ...); accuracy needs it, other modes take random inputs without it. `networks` chooses
    among ad, ic, kws and vww. A network that the board cannot run raises at its turn.
    """
    settings, monitor = find_board(device)
    log = _Log()
    session = Session(replace(settings, window_s=window_s, inputs=OFFICIAL_INPUTS), on_line=log.add)
    runner = _Runner(session, monitor, results, mode, dataset, log)
    found = []
    try:
        session.open()
        _check_mode(session, mode)
        for benchmark, model in _chosen(session, models, networks):
            found.append(runner.run(benchmark, model))
            if on_result is not None:
                on_result(found[-1])
    finally:
        session.close()
        if monitor is not None:
            monitor.close()
    return found


def _check_mode(session: Session, mode: RunMode) -> None:
    if mode is RunMode.ACCURACY or session.energy_mode == (mode is RunMode.ENERGY):
        return
    raise StableDeviceError(
        f"the board's firmware is built for {session.identity.mode.value} mode, not for {mode.value}",
        where=session.settings.name,
        hint="Rebuild it with EE_CFG_ENERGY_MODE set accordingly, or choose the other mode.",
    )


def _chosen(
    session: Session, models: Path | None, networks: Sequence[str]
) -> Iterator[tuple[Benchmark, Path | None]]:
    """Yield what to run: the networks of a folder, or the one that the firmware holds."""
    unknown = [name for name in networks if find_benchmark(name) is None]
    if unknown:
        raise InvalidInputError(f"there is no network {unknown[0]!r}", hint="Networks: ad, ic, kws, vww.")
    if session.extension is None:
        held = find_benchmark(session.identity.model or "")
        if held is None or (networks and held.name not in networks and held.model not in networks):
            raise StableDeviceError(
                f"the board holds the network {session.identity.model!r}",
                where=session.settings.name,
                hint="Flash reference firmware with one of the chosen networks.",
            )
        yield held, None
        return
    if models is None:
        raise InvalidInputError("this board needs the networks' files", hint="Give their folder by --models.")
    wanted = [b for b in BENCHMARKS if not networks or b.name in networks or b.model in networks]
    for benchmark in wanted:
        path = find_model(benchmark, models)
        if path is None:
            raise InvalidInputError(
                f"no file of {benchmark.model}", where=str(models), hint=f"Name it {benchmark.files[0]}."
            )
        yield benchmark, path


@dataclass(slots=True)
class _Runner:
    session: Session
    monitor: EdgeMonitor | None
    results: Path
    mode: RunMode
    dataset: Path | None
    log: _Log

    def run(self, benchmark: Benchmark, model: Path | None) -> Result:
        self.log.lines.clear()
        graph = self._place(model)
        if self.mode is RunMode.ACCURACY:
            result = self._accuracy(benchmark, graph)
        else:
            result = self._windows(benchmark, graph)
        write_result(result, self.log.lines)
        return result

    def _place(self, model: Path | None) -> Graph | None:
        if model is None or self.session.extension is None:
            return None
        data = model.read_bytes()
        self.session.extension.upload(data)
        return read_graph(data)

    def _windows(self, benchmark: Benchmark, graph: Graph | None) -> Result:
        windows = Windows(self.session, self.monitor)
        stimuli = self._five(benchmark)
        self._load(benchmark, graph, stimuli[0])
        rate = windows.trial(WINDOW_TIMEOUT_S)
        # A tenth more, so that a slightly faster window is long enough too.
        iterations = max(OFFICIAL_ITERATIONS, int(1.1 * windows.iterations(rate, WINDOW_TIMEOUT_S)))
        timeout_s = 10.0 + 3.0 * rate.host_s * (iterations + benchmark.warmups)
        samples = []
        for stimulus in stimuli:
            self._load(benchmark, graph, stimulus)
            samples.append(windows.run(iterations, benchmark.warmups, timeout_s))
        return self._result(benchmark, iterations=iterations, samples=tuple(samples))

    def _accuracy(self, benchmark: Benchmark, graph: Graph | None) -> Result:
        if self.dataset is None:
            raise InvalidInputError("accuracy needs the data set", hint="Give its folder by --dataset.")
        answers = []
        stimuli = read_stimuli(benchmark, self.dataset / benchmark.model)
        for _, group in groupby(stimuli, key=lambda stimulus: stimulus.file):
            windows = list(group)
            scores = np.mean([self._answer(benchmark, graph, window) for window in windows], axis=0)
            answers.append(Answer(windows[0].file, windows[0].label, tuple(float(s) for s in scores)))
        if not answers:
            raise InvalidInputError("the data set is empty", where=str(self.dataset / benchmark.model))
        single = len(answers[0].scores) == 1
        return self._result(
            benchmark, answers=len(answers), top1=None if single else top1(answers), auc=mean_auc(answers)
        )

    def _answer(self, benchmark: Benchmark, graph: Graph | None, stimulus: Stimulus) -> tuple[float, ...]:
        self._load(benchmark, graph, stimulus)
        answer = self.session.dut.infer(1, 0, timeout_s=WINDOW_TIMEOUT_S).results
        if benchmark.model == "ad01" and graph is not None and self.session.extension is not None:
            tensor = tensor_bytes(benchmark, stimulus.data, graph)
            return (anomaly_score(self.session.extension.output(0), tensor, graph),)
        return answer

    def _load(self, benchmark: Benchmark, graph: Graph | None, stimulus: Stimulus) -> None:
        if graph is None or self.session.extension is None:
            self.session.dut.load(stimulus.data)
        else:
            self.session.extension.load(tensor_bytes(benchmark, stimulus.data, graph))

    def _five(self, benchmark: Benchmark) -> list[Stimulus]:
        if self.dataset is None:
            return [random_stimulus(benchmark, number) for number in range(OFFICIAL_INPUTS)]
        stimuli = read_stimuli(benchmark, self.dataset / benchmark.model)
        five = [stimulus for stimulus, _ in zip(stimuli, range(OFFICIAL_INPUTS), strict=False)]
        if len(five) < OFFICIAL_INPUTS:
            raise InvalidInputError(
                f"the data set has {len(five)} inputs, 5 are needed", where=str(self.dataset)
            )
        return five

    def _result(self, benchmark: Benchmark, *, iterations: int = 1, **found: Any) -> Result:
        extension = self.session.extension
        simulated = extension is not None and extension.info.tick_unit is not TickUnit.CYCLES
        system = re.sub(r"[^A-Za-z0-9_.-]+", "_", self._system()) or "board"
        folder = self.results / system / benchmark.name / self.mode.value
        return Result(
            benchmark=benchmark.name,
            mode=self.mode,
            folder=folder,
            simulated=simulated,
            iterations=iterations,
            **found,
        )

    def _system(self) -> str:
        return self.session.extension.info.board if self.session.extension else self.session.identity.vendor


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
