"""Add a device to a predictor from a handful of measured networks; what it knew before stays as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from perfsage.answers import Subject
from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.graph import Graph
from perfsage.metrics import Metric
from perfsage.models.adapted import AdaptedMetric, Facts
from perfsage.models.adapted_answers import base_values
from perfsage.models.adapted_columns import Array
from perfsage.models.adapted_store import ADAPTED_NAME, AdaptedDevice, save_adapted
from perfsage.models.manifest import MANIFEST_NAME, DeviceEntry, file_hash
from perfsage.models.physics import memory_candidates
from perfsage.predictor import Predictor, read_subject
from perfsage.training.adapt_fit import fit_metric
from perfsage.training.calibrate import run_in_chunks

FEWEST, MOST = 5, 1000
"""How many different networks one metric can be learned from."""
FEWEST_DIFFERENT = 3
_EXACT_METRICS = (Metric.PEAK_MEMORY_BYTES, Metric.STORAGE_BYTES)


@dataclass(frozen=True, slots=True)
class Measured:
    """A network and what was measured of it: positive values in each metric's unit."""

    graph: Graph
    values: Mapping[Metric, float]


@dataclass(frozen=True, slots=True)
class AdaptedScore:
    """How one metric was learned: from `n` networks, with `error_percent` the median error of those left out.

    `half_width_percent` is the interval's; both are 0 where the metric equals `exact`, a total of the graph.
    """

    metric: Metric
    n: int
    error_percent: float
    half_width_percent: float
    exact: str | None = None


@dataclass(frozen=True, slots=True)
class AdaptReport:
    """Where the new predictor lies, how each metric was learned, and why others are unavailable."""

    output_dir: Path
    device: Device
    scores: tuple[AdaptedScore, ...]


def adapt(
    predictor: Predictor, device: Device, measured: Sequence[Measured], output_dir: Path
) -> AdaptReport:
    """Write a copy of `predictor` to `output_dir` that also knows `device`, learned from `measured`.

    Networks of the same structure count as one, with the median of their values. A device of the name that
    was added before is replaced. InvalidInputError where there are too few measurements, or the name is one
    that the predictor was trained with, or the folder is taken.
    """
    return adapt_devices(predictor, [(device, measured)], output_dir)[0]


def adapt_devices(
    predictor: Predictor, added: Iterable[tuple[Device, Sequence[Measured]]], output_dir: Path
) -> list[AdaptReport]:
    """Write a copy of `predictor` that also knows several devices; otherwise as `adapt`."""
    _check_folder(output_dir)
    learned = {known.entry.device.name: known for known in predictor.adapted}
    made = []
    for device, measured in added:
        check_name(predictor, device)
        learned[device.name] = found = _learn(predictor, device, merge(measured))
        made.append(found)
    _write(predictor, tuple(learned.values()), output_dir)
    return [
        AdaptReport(output_dir, one.entry.device, tuple(_score(one, metric) for metric in one.entry.labels))
        for one in made
    ]


def merge(measured: Sequence[Measured]) -> list[Measured]:
    """Return one item for each structure, with the median of its values."""
    groups: dict[str, list[Measured]] = {}
    for item in measured:
        groups.setdefault(item.graph.graph_id, []).append(item)
    made = []
    for items in groups.values():
        metrics = {metric for item in items for metric in item.values}
        medians = {
            metric: float(np.median([item.values[metric] for item in items if metric in item.values]))
            for metric in metrics
        }
        made.append(Measured(items[0].graph, medians))
    return made


def _learn(predictor: Predictor, device: Device, merged: Sequence[Measured]) -> AdaptedDevice:
    wanted = [metric for metric in Metric if any(metric in item.values for item in merged)]
    subjects = [read_subject(item.graph) for item in merged]
    raw = run_in_chunks(predictor.session, [subject.features for subject in subjects])
    fits: dict[Metric, AdaptedMetric] = {}
    exact: dict[Metric, str] = {}
    labels: dict[Metric, int] = {}
    reasons = {metric: f"no {metric.value} was among the measurements" for metric in Metric}
    for metric in wanted:
        rows = [place for place, item in enumerate(merged) if metric in item.values]
        if len(rows) < FEWEST:
            reasons[metric] = f"{len(rows)} networks had {metric.value}, and learning it takes {FEWEST}"
            continue
        values = np.array([merged[place].values[metric] for place in rows])
        labels[metric] = len(rows)
        if metric in _EXACT_METRICS and (name := _exact(values, [subjects[place] for place in rows])):
            exact[metric] = name
            continue
        facts = [Facts.of(subjects[place].features, base_values(raw, place, metric)) for place in rows]
        usable = _usable(predictor, metric, facts)
        fits[metric] = fit_metric(facts, values, metric, usable, predictor.calibration.level)
    if not labels:
        raise InvalidInputError(
            f"there are too few measurements to learn {device.name} from",
            where="; ".join(reasons[metric] for metric in wanted) or "no metric",
            hint=f"Measure at least {FEWEST} networks of different structure.",
        )
    described = replace(
        device,
        metrics={metric: device.metrics.get(metric, "as measured") for metric in labels},
        unavailable={metric: reasons[metric] for metric in Metric if metric not in labels},
    )
    return AdaptedDevice(DeviceEntry(device=described, labels=labels, exact=exact), fits)


def _usable(predictor: Predictor, metric: Metric, facts: Sequence[Facts]) -> Array:
    """Return 1 for each trained device whose values of `metric` can be leaned on, else 0."""
    any_float = any(fact.features.total("float_share") > 0 for fact in facts)
    return np.array(
        [
            float(bool(entry.labels.get(metric)) and not (any_float and entry.float_reason))
            for entry in predictor.manifest.devices
        ]
    )


def _exact(values: Array, subjects: Sequence[Subject]) -> str | None:
    """Return the graph total that equals every value, if there is one."""
    if len(set(values.tolist())) < FEWEST_DIFFERENT:
        return None
    candidates = memory_candidates(np.stack([subject.features.totals for subject in subjects]))
    return next((name for name, totals in candidates.items() if np.array_equal(totals, values)), None)


def _score(added: AdaptedDevice, metric: Metric) -> AdaptedScore:
    count, name = added.entry.labels[metric], added.entry.exact.get(metric)
    if name is not None:
        return AdaptedScore(metric, count, 0.0, 0.0, name)
    fitted = added.metrics[metric]
    return AdaptedScore(metric, count, fitted.error_percent, 100.0 * float(np.expm1(fitted.half_width)))


def check_name(predictor: Predictor, device: Device) -> None:
    """Refuse the name of a device that the predictor was trained with."""
    if device.name in {entry.device.name for entry in predictor.manifest.devices}:
        raise InvalidInputError(
            f"the predictor was trained for a device called {device.name!r}",
            where=f"predictor {predictor.manifest.name}",
            hint="Give the new device another name.",
        )


def _check_folder(output_dir: Path) -> None:
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise InvalidInputError(
            "the output folder is not empty", where=str(output_dir), hint="Name a folder that does not exist."
        )


def _write(predictor: Predictor, added: tuple[AdaptedDevice, ...], output_dir: Path) -> None:
    """Write the folder under another name first, so that it is complete when it appears."""
    partial = output_dir.with_name(output_dir.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    names = [name for name in predictor.manifest.files if name != ADAPTED_NAME]
    for name in names:
        shutil.copyfile(predictor.folder / name, partial / name)
    save_adapted(partial, added)
    manifest = replace(
        predictor.manifest,
        name=output_dir.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        adapted_devices=tuple(device.entry for device in added),
        files={name: file_hash(partial / name) for name in (*names, ADAPTED_NAME)},
    )
    (partial / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    if output_dir.exists():
        output_dir.rmdir()
    partial.rename(output_dir)
