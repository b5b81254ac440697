"""A phone or Linux board over ADB as a Profiler: latency, memory, energy, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from perfsage.device import Device
from perfsage.errors import PerfsageError, StableDeviceError, TransientDeviceError
from perfsage.measurement import Mode
from perfsage.metrics import Metric
from profilers.adb.command import command
from profilers.adb.energy_run import EnergyResult, EnergyRun
from profilers.adb.jobs import JobLostError
from profilers.adb.records import record_energy, record_operators, record_visits
from profilers.adb.runner import RunFailure, identify, operators
from profilers.adb.session import MODELS, Session
from profilers.adb.settings import PhoneSettings, RunnerSettings
from profilers.adb.transport import StorageFullError
from profilers.adb.turns import turn_of
from profilers.adb.visit import Visit, visit
from profilers.outcomes import Recorder
from profilers.power.monitor import PowerMonitor
from profilers.power.usb import UsbSwitch
from profilers.profiler import Model, Outcome, Plan, Profiler

METRICS = {
    Metric.LATENCY_MS: "inference_mean",
    Metric.PEAK_MEMORY_BYTES: "rss_growth",
    Metric.STORAGE_BYTES: "model_file",
}
FULL_DELEGATION = "require_full_delegation"
"""The option of a plan that makes a model fail where its delegate leaves operators to the CPU."""
NO_MONITOR = "no power monitor is configured for this device"


class AdbProfiler:
    """Measures models on one phone, one at a time.

    `monitor` names a source on the phone (`battery`, `odpm`) or is an instrument beside it; `switch` cuts
    the phone's USB power while energy is measured.
    """

    def __init__(
        self,
        settings: PhoneSettings,
        *,
        monitor: PowerMonitor | str | None = None,
        switch: UsbSwitch | None = None,
        monitor_options: dict[str, object] | None = None,
    ) -> None:
        self.settings = settings
        self._session = Session(settings)
        self._tool, self._tool_version = identify(settings.runner)
        self._closing = False
        self._energy = (
            None if monitor is None else EnergyRun(self._session, monitor, switch, monitor_options or {})
        )

    def describe(self) -> Device:
        """Return the device as the inventory knows it, without connecting."""
        has_energy = self._energy is not None
        runner = self.settings.runner
        return Device(
            name=f"adb:{self.settings.name}",
            kind="phone" if runner.path else "board",
            description=f"Phone or board over ADB at {self.settings.address}",
            metrics=METRICS | ({Metric.ENERGY_MJ: "net_of_idle"} if has_energy else {}),
            unavailable={} if has_energy else {Metric.ENERGY_MJ: NO_MONITOR},
            tool=self._tool,
            tool_version=self._tool_version,
        )

    def profile(self, models: Sequence[Model], plan: Plan) -> Iterator[Outcome]:
        """Measure every model in turn.

        A model that fails gives an outcome with its reason. A phone that cannot be reached any more, or
        does not cool down, raises TransientDeviceError; one that can never work StableDeviceError.
        """
        with turn_of(self.settings.address).taken(self._let_go, self.settings.absence_s):
            self._closing = False
            if not self._session.is_open:
                self._open()
            for index, model in enumerate(models):
                if index:
                    time.sleep(self.settings.idle_between_models_s)
                yield self._with_retries(model, plan)

    def close(self) -> None:
        """Let go of the phone, its monitor and its port.

        From another thread this ends a measurement that runs, which then raises.
        """
        self._closing = True
        self._let_go()

    def _let_go(self) -> None:
        if self._energy is not None:
            self._energy.close()
        self._session.close()

    def _with_retries(self, model: Model, plan: Plan) -> Outcome:
        """Measure a model, again where the phone went away or restarted."""
        for attempt in range(1, self.settings.attempts + 1):
            try:
                return self._measure(model, plan)
            except (RunFailure, StorageFullError) as error:
                return self._failed(model, error)
            except TransientDeviceError as error:
                if self._closing:
                    raise
                if attempt == self.settings.attempts:
                    if isinstance(error, JobLostError):  # this model restarts the phone
                        return self._failed(model, error)
                    raise
                self._reopen()
        raise AssertionError("a profiler needs at least one attempt")

    def _open(self) -> None:
        if self._energy is not None:
            self._energy.give_power()
        self._session.open()

    def _reopen(self) -> None:
        """Take the phone anew when it is back: its settings and its temporary files may be gone."""
        self._session.close()
        deadline = time.monotonic() + self.settings.absence_s
        while True:
            try:
                return self._open()
            except TransientDeviceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _failed(self, model: Model, error: PerfsageError) -> Outcome:
        device = self.describe()
        recorder = Recorder(device, model, Mode.MEASURED, conditions=self._session_conditions())
        for metric in device.metrics:
            recorder.unavailable(metric, error.what)
        return recorder.outcome(failure=str(error))

    def _session_conditions(self) -> dict[str, str | int | float | bool]:
        return self._session.properties.conditions() if self._session.is_open else {}

    def _measure(self, model: Model, plan: Plan) -> Outcome:
        session = self._session
        path = session.push_model(model)
        recorder = Recorder(self.describe(), model, Mode.MEASURED)
        visits = self._visits(path, plan)
        record_visits(recorder, visits, session, self._runner(plan), plan)
        last = visits[-1].report
        notes = [f"{d.name} took {d.coverage} of the graph" for d in last.delegations]
        notes += [f"{r.name} took {r.nodes} of {r.total or '?'} nodes" for r in last.replaced]
        if plan.per_operator:
            notes += self._operators(recorder, path, plan)
        if self._energy is not None:
            record_energy(recorder, lambda: self._energy_of(path, plan))
        return recorder.outcome(notes=notes)

    def _runner(self, plan: Plan) -> RunnerSettings:
        if plan.options.get(FULL_DELEGATION):
            return replace(self.settings.runner, require_full_delegation=True)
        return self.settings.runner

    def _visits(self, path: str, plan: Plan) -> list[Visit]:
        visits = []
        for index in range(max(1, plan.visits)):
            if index:
                time.sleep(self.settings.idle_between_visits_s)
            words = command(self._session.runner, self._runner(plan), path, plan.threads)
            visits.append(visit(self._session, words, plan.timeout_s))
        return visits

    def _operators(self, recorder: Recorder, path: str, plan: Plan) -> list[str]:
        """Run once more with profiling on, since it slows the run down; return notes."""
        profile = f"{MODELS}/profile.csv"
        try:
            words = command(self._session.runner, self._runner(plan), path, plan.threads, profile)
            visit(self._session, words, plan.timeout_s)
            return record_operators(recorder, operators(self._session.adb, profile))
        except (RunFailure, StableDeviceError) as error:
            return [f"no per-operator profile: {error.what}"]

    def _energy_of(self, path: str, plan: Plan) -> EnergyResult:
        assert self._energy is not None
        return self._energy.measure(path, plan)


def open_adb(name: str) -> Profiler:
    """Return the profiler of `adb:NAME` from the inventory, or of `adb:HOST:PORT` or `adb:usb:SERIAL`."""
    from profilers.lab import find_lab

    return find_lab().open_phone(name.removeprefix("adb:"))


def describe_adb(name: str) -> Device:
    """Return the device of that name, without connecting."""
    profiler = open_adb(name)
    try:
        return profiler.describe()
    finally:
        profiler.close()
