"""Runs MLPerf Tiny's reference networks on a board in the official way, and files the results.

    RESULTS/SYSTEM/{ad,ic,kws,vww}/{performance,accuracy,energy}/{results.txt,log.txt,results.json}

Five inputs, windows of at least 10 s and 10 inferences, medians. Firmware with the upload extension gets
all networks one after the other; other firmware runs the one that it holds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from perfsage.errors import DeviceError, InvalidInputError, StableDeviceError, TransientDeviceError
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
from profilers.serial.mlperf_results import Result, RunMode, write_result
from profilers.serial.profiler import find_board
from profilers.serial.session import Session
from profilers.serial.settings import OFFICIAL_INPUTS, OFFICIAL_ITERATIONS, OFFICIAL_WINDOW_S
from profilers.serial.windows import EdgeMonitor, Windows

WINDOW_TIMEOUT_S = 600.0


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
    among ad, ic, kws and vww. After a fault of the line a network is run again; one that fails for good does
    not keep the others from being run. StableDeviceError at the end names those that failed.
    """
    settings, monitor = find_board(device)
    log = _Log()
    session = Session(
        replace(settings, window_s=window_s, inputs=OFFICIAL_INPUTS),
        on_line=log.add,
        supply=monitor.supply if monitor else None,
    )
    runner = _Runner(session, monitor, results, mode, dataset, log)
    found, failed = [], []
    try:
        session.open()
        _check_mode(session, mode)
        for benchmark, model in list(_chosen(session, models, networks)):
            try:
                found.append(runner.run(benchmark, model))
            except DeviceError as error:
                failed.append((benchmark.name, error))
                continue
            if on_result is not None:
                on_result(found[-1])
    finally:
        session.close()
        if monitor is not None:
            monitor.close()
    if failed:
        raise _failure(device, failed)
    return found


def _failure(device: str, failed: Sequence[tuple[str, DeviceError]]) -> DeviceError:
    if len(failed) == 1:
        return failed[0][1]
    reasons = "; ".join(f"{name}: {error.what}" for name, error in failed)
    return StableDeviceError(
        f"{len(failed)} networks failed: {reasons}", where=device, hint="Results of the others are written."
    )


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
        for attempt in range(self.session.settings.attempts):
            try:
                if attempt:
                    self.session.recover()
                return self._run_once(benchmark, model)
            except TransientDeviceError as error:
                failure = error
        raise failure

    def _run_once(self, benchmark: Benchmark, model: Path | None) -> Result:
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
        iterations = max(OFFICIAL_ITERATIONS, windows.iterations(rate, WINDOW_TIMEOUT_S))
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
