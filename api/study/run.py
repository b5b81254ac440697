"""Run a study: measure where there is a device, predict where there is none, store everything."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from api.study.build import Built, chunks, network_record
from api.study.spec import Cell, Setting, Spec
from api.study.where import Place, Source, find_places
from api.words import SCHEMA_VERSION
from perfsage.errors import DeviceError
from perfsage.measurement import Measurement
from profilers.profiler import Plan, Profiler

if TYPE_CHECKING:
    from dataset.store import Store
    from perfsage.predictor import Predictor


@dataclass(slots=True)
class Tally:
    """How a study goes; counts are of cells: a network on a device in a setting."""

    total: int = 0
    stored_before: int = 0
    measured: int = 0
    predicted: int = 0
    failed: int = 0
    device: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    """Devices that could not be measured or predicted, and why."""

    @property
    def done(self) -> int:
        """Cells that need no more work."""
        return self.stored_before + self.measured + self.predicted

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        names = ("total", "stored_before", "measured", "predicted", "failed", "missing")
        return {"schema_version": SCHEMA_VERSION, **{name: getattr(self, name) for name in names}}


OnProgress = Callable[[Tally], None]


def run_study(spec: Spec, store: Store, *, on_progress: OnProgress = lambda tally: None) -> Tally:
    """Measure or predict every cell that the store does not have yet.

    Stopped at any moment, the same call goes on where it was. A device that fails for good ends its own
    part and stands in `missing` with the reason. UnknownNameError for names, before anything starts.
    """
    places, predictor, tally = find_places(spec, store)
    work = [(place, list(spec.cells(place.device.name, has_threads=place.has_threads))) for place in places]
    tally.total = sum(len(cells) for place, cells in work if place.source is not Source.IMPORTED)
    for place, cells in work:
        if place.source is Source.IMPORTED:
            continue
        tally.device = place.device.name
        done = stored_cells(store, spec.name, place.device.name)
        missing = [cell for cell in cells if cell.key not in done]
        tally.stored_before += len(cells) - len(missing)
        on_progress(tally)
        store.add_device(place.device)
        try:
            _run_place(spec, store, place, missing, predictor, tally, on_progress)
        except DeviceError as error:
            tally.missing[place.device.name] = str(error)
    return tally


def stored_cells(store: Store, study: str, device: str) -> set[str]:
    """Return the keys of the cells that a database has of a study and device."""
    import sqlalchemy as sa

    from dataset.connect import reading
    from dataset.schema import devices, runs

    query = sa.select(runs.c.conditions).join(devices).where(devices.c.name == device)
    with reading(store.engine) as connection:
        found = [study_of(text) for (text,) in connection.execute(query)]
    return {cell for name, cell in found if name == study}


def study_of(conditions: str) -> tuple[str, str]:
    """Return a run's study and cell, empty where it belongs to none."""
    import json

    if '"study"' not in conditions:
        return "", ""
    values = json.loads(conditions)
    return str(values.get("study", "")), str(values.get("study_cell", ""))


def _run_place(
    spec: Spec,
    store: Store,
    place: Place,
    cells: Sequence[Cell],
    predictor: Predictor | None,
    tally: Tally,
    on_progress: OnProgress,
) -> None:
    if place.source is Source.PREDICTED:
        assert predictor is not None
        for chunk in chunks(cells):
            _store(store, spec, chunk, [_predicted(predictor, place, built) for built in chunk])
            tally.predicted += len(chunk)
            on_progress(tally)
        return
    with ExitStack() as stack:
        profiler = stack.enter_context(closing(_opened(place.device.name, stack)))
        for setting in dict.fromkeys(cell.setting for cell in cells):
            plan = _plan(spec, setting)
            for chunk in chunks(cell for cell in cells if cell.setting == setting):
                outcomes = list(profiler.profile([built.model for built in chunk], plan))
                _store(store, spec, chunk, [outcome.measurements for outcome in outcomes])
                tally.measured += len(chunk)
                tally.failed += sum(outcome.failure is not None for outcome in outcomes)
                on_progress(tally)


def _opened(device: str, stack: ExitStack) -> Profiler:
    """Open a device; tools that can share workers get one for each core."""
    from profilers.registry import open_profiler, shares_pool
    from profilers.workers import WorkerPool

    if not shares_pool(device):
        return open_profiler(device)
    cores = sorted(os.sched_getaffinity(0))
    return open_profiler(device, pool=stack.enter_context(WorkerPool(len(cores), cpus=[cores], name="study")))


def _plan(spec: Spec, setting: Setting) -> Plan:
    return Plan(
        visits=spec.visits,
        visit_ms=spec.visit_ms,
        threads=setting.threads,
        per_operator=spec.per_operator,
        timeout_s=spec.timeout_s,
        options={"xnnpack": setting.delegate != "none"},
    )


def _predicted(predictor: Predictor, place: Place, built: Built) -> tuple[Measurement, ...]:
    from api.study.predicting import predicted_measurements

    return predicted_measurements(predictor, place.device, built.model)


def _store(store: Store, spec: Spec, chunk: Sequence[Built], found: Sequence[Sequence[Measurement]]) -> None:
    marked: list[Measurement] = []
    for built, measurements in zip(chunk, found, strict=True):
        labels = {"study": spec.name, "study_cell": built.cell.key}
        marked += [replace(m, conditions={**m.conditions, **labels}) for m in measurements]
    store.add_outcomes([network_record(built) for built in chunk], marked)
