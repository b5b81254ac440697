"""Microcontrollers at a serial port as devices: latency, memory and energy of any network they can take."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from perfsage.device import Device
from perfsage.errors import PerfsageError, StableDeviceError, TransientDeviceError, UnsupportedModelError
from perfsage.measurement import Mode, OperatorRef, Statistic
from perfsage.metrics import Metric
from profilers.outcomes import Recorder, without_values
from profilers.profiler import Model, Outcome, Plan
from profilers.serial.benchmarks import find_benchmark, random_stimulus
from profilers.serial.errors import LineError, PortGoneError, TooSlowError
from profilers.serial.extension import BoardInfo, Extension, TickUnit
from profilers.serial.inputs import random_input
from profilers.serial.session import Session
from profilers.serial.settings import OFFICIAL_WINDOW_S, SILICON_TIMEOUT_S, BoardSettings
from profilers.serial.windows import EdgeMonitor, Rate, Sample, Windows

TOOL = "mlperf-tiny-serial"
LATENCY = "median_of_windows"
ENERGY = "between_timestamps"
NO_MONITOR = "no power monitor is configured for this board"
NO_EDGES = "the board runs performance-mode firmware, which gives no timestamp edges"
NO_EXTENSION = "the board's firmware does not tell; flash firmware with the upload extension"
ASSUMPTIONS = {
    TickUnit.INSTRUCTIONS: "{cpi:g} cycles an instruction at {mhz:g} MHz; no caches, no memory waits",
    TickUnit.NANOSECONDS: "time of TFLM's reference kernels on this computer, not on a microcontroller",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What the windows of one model showed."""

    samples: tuple[Sample, ...]
    iterations: int
    warmups: int
    rate: Rate


class SerialProfiler:
    """Measures models on one board; `monitor` must see the board's timestamp pin."""

    def __init__(self, settings: BoardSettings, *, monitor: EdgeMonitor | None = None) -> None:
        self.settings = settings
        self.session = Session(settings, supply=monitor.supply if monitor else None)
        self.monitor = monitor
        self.windows = Windows(self.session, monitor)
        self._device: Device | None = None

    def describe(self) -> Device:
        """Return the device; asks the board who it is the first time."""
        if self._device is None:
            self.session.open()
            self._device = _device(self.settings, self.session, self.monitor is not None)
        return self._device

    def profile(self, models: Sequence[Model], plan: Plan) -> Iterator[Outcome]:
        """Yield one outcome a model, in order; raises only when the board is gone for good."""
        for model in models:
            yield self._profile(model, plan)

    def close(self) -> None:
        """Release the port and the monitor. Calling it twice is harmless."""
        self.session.close()
        if self.monitor is not None:
            self.monitor.close()

    def _profile(self, model: Model, plan: Plan) -> Outcome:
        recorder = Recorder(self.describe(), model, _mode(self.session.extension))
        failure: PerfsageError | None = None
        for attempt in range(self.settings.attempts):
            try:
                if attempt:
                    self.session.recover()
                return self._measure(recorder, plan)
            except PortGoneError as error:
                # Once the port has come back the model is tried again; a port that stays away ends it all.
                failure = error
                self.session.channel.reopen(self.settings.replug_s)
            except TransientDeviceError as error:
                failure = error
            except UnsupportedModelError as error:
                return without_values(recorder, str(error), failed=False)
            except TooSlowError as error:
                failure = error
                break
            except StableDeviceError as error:
                return without_values(recorder, str(error), failed=True)
        self._leave_in_step(self._limit_s(plan))
        return without_values(recorder, str(failure), failed=True)

    def _leave_in_step(self, patience_s: float) -> None:
        """After the last failure, make the board ready for the next model; it may still boot or work."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.session.recover()
            except PortGoneError:
                raise
            except LineError as error:
                if time.monotonic() >= deadline:
                    raise TransientDeviceError(
                        f"the board does not come back: {error.what}",
                        where=self.settings.name,
                        hint="Reset the board.",
                    ) from error

    def _measure(self, recorder: Recorder, plan: Plan) -> Outcome:
        recorder.measurements.clear()
        limit_s = self._limit_s(plan)
        deadline = time.monotonic() + limit_s
        self._place(recorder.model, limit_s)
        run = self._run(recorder.model, deadline)
        recorder.conditions = self._conditions(run)
        self._record_time(recorder, run)
        self._record_energy(recorder, run)
        self._record_memory(recorder)
        if plan.per_operator:
            self._record_operators(recorder, max(deadline - time.monotonic(), 1.0))
        return recorder.outcome(notes=self._notes(run))

    def _limit_s(self, plan: Plan) -> float:
        if self.settings.timeout_s is not None:
            return self.settings.timeout_s
        silicon = _mode(self.session.extension) is Mode.MEASURED
        return max(plan.timeout_s, SILICON_TIMEOUT_S) if silicon else plan.timeout_s

    def _place(self, model: Model, timeout_s: float) -> None:
        """Have the board hold this model: by uploading it, or because it is flashed with it."""
        if self.session.extension is not None:
            self.session.extension.upload(model.data, timeout_s)
            return
        if self.settings.holds_model_id == model.graph.model_id:
            return
        raise UnsupportedModelError(
            "this board's firmware cannot take models; it measures only the one that it was flashed with",
            where=self.settings.name,
            hint="Set holds_model for this board in lab.toml, or flash firmware with the upload extension.",
        )

    def _run(self, model: Model, deadline: float) -> Run:
        self._load(self._input(model, 0))
        rate = self.windows.trial(max(deadline - time.monotonic(), 1.0))
        budget_s = 0.8 * max(deadline - time.monotonic(), 0.0) / self.settings.inputs
        warmups = 0 if self._exact else min(self.settings.warmups, int(budget_s / 4 / max(rate.host_s, 1e-9)))
        iterations = self.windows.iterations(rate, budget_s - warmups * rate.host_s)
        timeout_s = 5.0 + 3.0 * rate.host_s * (iterations + warmups)
        samples = []
        for number in range(self.settings.inputs):
            if number:
                self._load(self._input(model, number))
            samples.append(self.windows.run(iterations, warmups, timeout_s))
        return Run(tuple(samples), iterations, warmups, rate)

    @property
    def _exact(self) -> bool:
        extension = self.session.extension
        return extension is not None and extension.info.tick_unit is TickUnit.INSTRUCTIONS

    def _input(self, model: Model, number: int) -> bytes:
        """Return an input; reference firmware takes its network's in the encoding of the data set."""
        held = None if self.session.extension else find_benchmark(self.session.identity.model or "")
        data = random_input(model.graph, number)
        takes = model.graph.subgraphs[0].tensors[model.graph.subgraphs[0].inputs[0]]
        if held is None or math.prod(takes.shape) != held.elements:
            return data
        return random_stimulus(held, number).data

    def _load(self, data: bytes) -> None:
        if self.session.extension is None:
            self.session.dut.load(data)
            return
        info = self.session.extension.info
        if len(data) > info.input_max_bytes:
            raise UnsupportedModelError(
                f"the inputs have {len(data)} bytes, the board takes {info.input_max_bytes}",
                where=self.settings.name,
            )
        self.session.extension.load(data)

    def _conditions(self, run: Run) -> dict[str, str | int | float | bool]:
        identity, extension = self.session.identity, self.session.extension
        conditions: dict[str, str | int | float | bool] = {
            "board": extension.info.board if extension else identity.vendor,
            "runtime": extension.info.engine if extension else identity.firmware or "unknown",
            "iterations": run.iterations,
            "warmups": run.warmups,
            "inputs": len(run.samples),
            "baud": self.session.link.baud,
        }
        if self._exact or (extension and extension.info.tick_unit is TickUnit.CYCLES):
            assert extension is not None
            conditions["clock_hz"] = self.windows.clock_hz
            conditions[extension.info.tick_unit.value] = round(
                statistics.median(sample.units or 0.0 for sample in run.samples), 3
            )
        if extension and extension.info.tick_unit in ASSUMPTIONS:
            conditions["assumption"] = self._assumption(extension)
        return conditions

    def _assumption(self, extension: Extension) -> str:
        text = ASSUMPTIONS[extension.info.tick_unit]
        if extension.info.tick_unit is TickUnit.NANOSECONDS:
            return text
        return text.format(cpi=self.settings.cycles_per_instruction, mhz=self.windows.clock_hz / 1e6)

    def _record_time(self, recorder: Recorder, run: Run) -> None:
        samples_ms = [sample.latency_s * 1e3 for sample in run.samples]
        recorder.add(
            Metric.LATENCY_MS, statistics.median(samples_ms), statistic=Statistic.MEDIAN, samples=samples_ms
        )

    def _record_energy(self, recorder: Recorder, run: Run) -> None:
        if Metric.ENERGY_MJ not in recorder.device.metrics:
            return
        samples = [s for s in run.samples if s.energy_mj is not None]
        refused = next((s.energy_refused for s in run.samples if s.energy_refused), None)
        if refused or not samples:
            recorder.unavailable(Metric.ENERGY_MJ, refused or NO_EDGES)
            return
        energies_mj = [s.energy_mj for s in samples if s.energy_mj is not None]
        recorder.add(
            Metric.ENERGY_MJ,
            statistics.median(energies_mj),
            statistic=Statistic.MEDIAN,
            samples=energies_mj,
            conditions={
                "uncertainty_mj": statistics.median(s.energy_uncertainty_mj or 0.0 for s in samples),
                "average_power_w": statistics.median(s.average_power_w or 0.0 for s in samples),
            },
        )

    def _record_memory(self, recorder: Recorder) -> None:
        recorder.add(Metric.STORAGE_BYTES, len(recorder.model.data))
        if (extension := self.session.extension) is None:
            return
        memory = extension.memory()
        recorder.add(Metric.PEAK_MEMORY_BYTES, memory.arena)
        parts = {"arena_head": memory.arena_head, "arena_tail": memory.arena_tail, "stack": memory.stack}
        for definition, value in parts.items():
            if value is not None:
                recorder.add(Metric.PEAK_MEMORY_BYTES, value, definition=definition)
        if extension.info.code_bytes is not None:
            recorder.add(Metric.STORAGE_BYTES, extension.info.code_bytes, definition="flash_code")

    def _record_operators(self, recorder: Recorder, timeout_s: float) -> None:
        extension = self.session.extension
        for ticks in (extension.operator_ticks(timeout_s) if extension else None) or ():
            assert extension is not None
            seconds = self.windows.seconds(ticks.ticks * extension.info.units_per_kilotick / 1000)
            recorder.add(Metric.LATENCY_MS, seconds * 1e3, operator=OperatorRef(ticks.subgraph, ticks.index))

    def _notes(self, run: Run) -> list[str]:
        shortest_s = min(sample.window_s for sample in run.samples)
        if _mode(self.session.extension) is Mode.MEASURED and shortest_s < OFFICIAL_WINDOW_S:
            return [f"windows of {shortest_s:.3g} s are shorter than MLPerf Tiny's {OFFICIAL_WINDOW_S:g} s"]
        return []


def _mode(extension: Extension | None) -> Mode:
    simulated = extension is not None and extension.info.tick_unit is not TickUnit.CYCLES
    return Mode.SIMULATED if simulated else Mode.MEASURED


def _device(settings: BoardSettings, session: Session, monitored: bool) -> Device:
    extension, identity = session.extension, session.identity
    metrics = {Metric.LATENCY_MS: LATENCY, Metric.STORAGE_BYTES: "flash_model"}
    unavailable = {}
    if extension is not None:
        metrics[Metric.PEAK_MEMORY_BYTES] = "arena_total"
    else:
        unavailable[Metric.PEAK_MEMORY_BYTES] = NO_EXTENSION
    if monitored:
        metrics[Metric.ENERGY_MJ] = ENERGY
    else:
        unavailable[Metric.ENERGY_MJ] = NO_MONITOR
    board = f"{extension.info.board}, {extension.info.engine}" if extension else identity.vendor
    return Device(
        name=settings.name,
        kind="mcu",
        description=f"board at {settings.address}: {board}",
        metrics=metrics,
        unavailable=unavailable,
        descriptors=_descriptors(extension.info) if extension else {},
        tool=TOOL,
        tool_version=extension.info.engine if extension else identity.firmware or version("pyserial"),
    )


def _descriptors(info: BoardInfo) -> dict[str, float]:
    values = {"clock_hz": info.clock_hz, "ram_bytes": info.ram_bytes, "flash_bytes": info.flash_bytes}
    return {name: float(value) for name, value in values.items() if value is not None}
