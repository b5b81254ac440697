"""Load a trained predictor and ask it what networks cost, on ONNX Runtime alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from perfsage.answers import Subject, answer
from perfsage.device import Device
from perfsage.errors import InvalidInputError, PerfsageError, PredictorError, UnknownNameError
from perfsage.features import PHYSICAL_COLUMNS, GraphFeatures, batch_features, extract_many
from perfsage.features.arrays import CYCLE_COLUMNS
from perfsage.features.npu.geometry import GEOMETRY_NAMES, geometry_of
from perfsage.graph import Graph, read_graph
from perfsage.graph.columns import Columns
from perfsage.graph.costs import graph_macs
from perfsage.metrics import Metric, parse_metric
from perfsage.models.adapted_answers import answer_adapted
from perfsage.models.adapted_store import AdaptedDevice, load_adapted
from perfsage.models.calibration import Calibration
from perfsage.models.manifest import (
    ARRAYS_NAME,
    NETWORK_NAME,
    Manifest,
    read_arrays,
    read_manifest,
    verify_files,
)
from perfsage.models.session import NetworkSession
from perfsage.prediction import ModelSummary, Prediction, PredictorInfo, Report

Item = TypeVar("Item")
_FIRST_CYCLES = PHYSICAL_COLUMNS.index(CYCLE_COLUMNS[0])
ModelSource = str | os.PathLike[str] | bytes | bytearray | memoryview | Graph
"""A path to a .tflite file, its bytes, or a graph that was read already."""

PRETRAINED = Path(__file__).parent / "pretrained"
PLANNED = ("arena_bytes", "plan_peak_bytes")
"""The graph totals that only the memory planner knows."""
MOST_SIGNATURE_FACTOR = 1e6
"""Beyond, an interval says nothing anyway."""
CALL_OPERATORS = 2_000
"""Graphs share a run of the features and of the network until they have this many operators: enough for what
each call costs to vanish, few enough for a core's cache and for memory. Ten times as many take as long."""


def load_predictor(path_or_name: str | os.PathLike[str] = "default") -> Predictor:
    """Load a predictor from its folder, or one that ships with the package by its name.

    Files are checked against the manifest's hashes. PredictorError says what is missing, damaged or of
    another version.

    >>> predictor = load_predictor("my-predictor")            # doctest: +SKIP
    >>> predictor.predict("model.tflite").to_dict()           # doctest: +SKIP
    """
    folder = find_predictor(path_or_name)
    manifest, version = read_manifest(folder)
    verify_files(folder, manifest)
    arrays = read_arrays(folder / ARRAYS_NAME)
    try:
        calibration = Calibration.from_arrays(arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise PredictorError(f"the calibration is damaged: {error!r}", where=str(folder)) from error
    return Predictor(
        folder=folder,
        manifest=manifest,
        version=version,
        calibration=calibration,
        session=NetworkSession(folder / NETWORK_NAME),
        adapted=load_adapted(folder, manifest),
    )


def find_predictor(path_or_name: str | os.PathLike[str]) -> Path:
    """Return the folder of a predictor; PredictorError names the ones that ship where there is none."""
    given = Path(path_or_name)
    for folder in (given, PRETRAINED / given.name if given.name == str(given) else given):
        if (folder / "manifest.json").is_file():
            return folder
    known = ", ".join(pretrained_names()) or "none"
    raise PredictorError(
        f"there is no predictor {str(path_or_name)!r}",
        where=str(given.absolute()),
        hint=f"Train one with `perfsage train`. Predictors that ship with the package: {known}.",
    )


def pretrained_names() -> list[str]:
    """Return the names of the predictors that ship with the package."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/manifest.json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A trained predictor: `predict` is all that most programs need."""

    folder: Path
    manifest: Manifest
    version: str
    calibration: Calibration
    session: NetworkSession
    adapted: tuple[AdaptedDevice, ...] = ()
    """Devices that were added from measurements; they come after the others."""

    @property
    def devices(self) -> tuple[Device, ...]:
        """Every device that this predictor knows."""
        entries = (*self.manifest.devices, *self.manifest.adapted_devices)
        return tuple(entry.device for entry in entries)

    @property
    def info(self) -> PredictorInfo:
        """Which predictor this is, as answers carry it."""
        manifest = self.manifest
        return PredictorInfo(
            name=manifest.name,
            version=self.version,
            feature_schema=manifest.feature_schema,
            trained_on_graphs=manifest.trained_on_graphs,
            created_at=manifest.created_at,
        )

    def predict(
        self,
        models: ModelSource | Sequence[ModelSource],
        devices: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        *,
        operators: bool = True,
    ) -> Report:
        """Predict every metric of every model on every device, or on those named.

        Predictions come model by model, in the order given, each with its devices in the order given.
        Without `operators` they say nothing of single operators, which takes less time: loops that only
        compare networks want that. InvalidModelError and UnknownNameError say what cannot be used.
        """
        chosen = self._device_rows(devices)
        wanted = tuple(Metric) if metrics is None else tuple(parse_metric(name) for name in metrics)
        arena, accelerators = self._needs_arena(chosen, wanted), self.accelerators(devices)
        predictions: list[Prediction] = []
        named = (_named(model) for model in _as_list(models))
        for group in grouped(named, lambda graph: graph.operators):
            subjects = map(_or_raise, graph_subjects(group, arena=arena, accelerators=accelerators))
            predictions += self._predict_group(list(subjects), chosen, wanted, operators)
        return Report(predictor=self.info, predictions=tuple(predictions))

    def predict_subjects(
        self, subjects: Sequence[Subject], devices: Sequence[str] | None = None, *, operators: bool = True
    ) -> tuple[Prediction, ...]:
        """Predict from features that were extracted before, all metrics, in one call of the network.

        Without `operators`, predictions say nothing of single operators, and take less time.
        """
        return tuple(self._predict_group(subjects, self._device_rows(devices), tuple(Metric), operators))

    def _predict_group(
        self,
        subjects: Sequence[Subject],
        rows: Sequence[int],
        metrics: Sequence[Metric],
        shares: bool = True,
    ) -> Iterator[Prediction]:
        batch = batch_features([subject.features for subject in subjects])
        self._check_estimated(batch.physical[batch.offsets[:-1]], rows)
        raw = self.session.run(batch)
        trained = len(self.manifest.devices)
        base_rows = [row for row in rows if row < trained]
        base = answer(
            subjects, raw, batch.offsets, self.manifest, self.calibration, base_rows, metrics, shares
        )
        for place, subject in enumerate(subjects):
            begin, end = int(batch.offsets[place]), int(batch.offsets[place + 1])
            operators = slice(begin, end if shares else begin)
            for row in rows:
                if row < trained:
                    yield next(base)
                else:
                    device, level = self.adapted[row - trained], self.calibration.level
                    yield answer_adapted(device, subject, raw, place, operators, metrics, level)

    def _check_estimated(self, firsts: NDArray[np.floating], rows: Sequence[int]) -> None:
        """Refuse features that lack what a device starts from: its costs would be taken for nothing.

        `firsts` [graphs, len(PHYSICAL_COLUMNS)] are the first operators of each graph.
        """
        devices = self.devices
        for row in rows:
            place = geometry_of(devices[row].descriptors)
            if place is not None and np.isnan(firsts[:, _FIRST_CYCLES + place]).any():
                hint = f"Extract them with accelerators=[{GEOMETRY_NAMES[place]!r}], or ask for others."
                raise InvalidInputError(f"the features lack an estimate for {devices[row].name}", hint=hint)

    def needs_arena(self, devices: Sequence[str], metrics: Sequence[str]) -> bool:
        """Return whether features for these devices and metrics need what only the planner knows."""
        return self._needs_arena(self._device_rows(devices), [parse_metric(name) for name in metrics])

    def accelerators(self, devices: Sequence[str] | None = None) -> list[str]:
        """Return the NPUs whose estimates these devices start from, as `extract_features` names them."""
        known = self.devices
        places = {geometry_of(known[row].descriptors) for row in self._device_rows(devices)}
        return [name for place, name in enumerate(GEOMETRY_NAMES) if place in places]

    def _needs_arena(self, rows: Sequence[int], metrics: Sequence[Metric]) -> bool:
        """Return whether any of these devices takes its memory from the planner, which is slow to run."""
        trained = len(self.manifest.devices)
        if any(row >= trained for row in rows):
            return True
        entries = [self.manifest.devices[row] for row in rows]
        return any(entry.exact.get(metric) in PLANNED for entry in entries for metric in metrics)

    def _device_rows(self, names: Sequence[str] | None) -> list[int]:
        known = {device.name: row for row, device in enumerate(self.devices)}
        if names is None:
            return list(known.values())
        for name in names:
            if name not in known:
                raise UnknownNameError(
                    f"the predictor knows no device {name!r}",
                    where=f"predictor {self.manifest.name}",
                    hint=f"Known devices: {', '.join(known)}.",
                )
        return [known[name] for name in names]


def _as_list(models: ModelSource | Sequence[ModelSource]) -> Sequence[ModelSource]:
    if isinstance(models, str | os.PathLike | bytes | bytearray | memoryview | Graph):
        return [models]
    return models


@dataclass(frozen=True, slots=True)
class NamedGraph:
    """A graph with what its summary says of where it came from."""

    graph: Graph
    path: str | None = None
    model_id: str | None = None

    @property
    def operators(self) -> int:
        """The number of operators over all subgraphs."""
        return sum(len(subgraph.columns.operator_type) for subgraph in self.graph.subgraphs)


def read_subject(model: ModelSource, *, arena: bool = True) -> Subject:
    """Read one model; an error names the file that it came from. `arena` as in `extract_features`."""
    return _or_raise(graph_subjects([_named(model)], arena=arena)[0])


def graph_subjects(
    graphs: Sequence[NamedGraph], *, arena: bool = True, accelerators: Collection[str] = GEOMETRY_NAMES
) -> list[Subject | PerfsageError]:
    """Return each graph as a subject, or what is wrong with it: InvalidInputError without operators.

    `arena` and `accelerators` are as in `extract_features`: what is left out saves time. They share one run
    of the features, so that some thousands of operators at a time are fastest.
    """
    features = extract_many([named.graph for named in graphs], arena=arena, accelerators=accelerators)
    return [_subject(named, found) for named, found in zip(graphs, features, strict=True)]


def _subject(named: NamedGraph, features: GraphFeatures | PerfsageError) -> Subject | PerfsageError:
    try:
        if isinstance(features, PerfsageError):
            raise features
        macs = _macs(named.graph, features)
    except PerfsageError as error:
        return _placed(error, named.path)
    graph_id = named.graph.graph_id
    summary = ModelSummary(named.path, named.model_id, graph_id, features.operators, macs)
    columns = [subgraph.columns for subgraph in named.graph.subgraphs]
    stale = sum(int(part.tensor_has_stale_signature.sum()) for part in columns)
    factor = _signature_factor(columns) if stale else 1.0
    return Subject(summary=summary, features=features, stale_signatures=stale, signature_factor=factor)


def _signature_factor(parts: Sequence[Columns]) -> float:
    """Return by how much the elements of a tensor differ at most between its signature and its shape.

    The work of an operator differs about as much, that of a product of two tensors more.
    """
    shapes = np.concatenate([part.tensor_elements for part in parts]).astype(np.float64)
    signatures = np.concatenate([part.signature_elements for part in parts])
    ratios = np.maximum(signatures, 1.0) / np.maximum(shapes, 1.0)
    return float(min(max(ratios.max(), 1.0 / ratios.min()), MOST_SIGNATURE_FACTOR))


def _named(model: ModelSource) -> NamedGraph:
    path = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    try:
        graph = model if isinstance(model, Graph) else read_graph(model)
        return NamedGraph(graph, path, graph.model_id)
    except PerfsageError as error:
        raise _placed(error, path) from None


def _placed(error: PerfsageError, path: str | None) -> PerfsageError:
    """Return an error that names the file that it came from."""
    if path is not None and error.where is None:
        error.where = path
    return error


def _or_raise(subject: Subject | PerfsageError) -> Subject:
    if isinstance(subject, PerfsageError):
        raise subject
    return subject


def _macs(graph: Graph, features: GraphFeatures) -> int:
    """Return the graph's MACs: the features have them already, unless subgraphs call one another."""
    total = float(features.cost("macs").sum())
    return int(total) if len(graph.subgraphs) == 1 and total < 2**53 else graph_macs(graph)[0]


def grouped(items: Iterable[Item], operators: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Group models so that what works on them together never grows without bound: CALL_OPERATORS."""
    group: list[Item] = []
    total = 0
    for item in items:
        count = operators(item)
        if group and total + count > CALL_OPERATORS:
            yield group
            group, total = [], 0
        group.append(item)
        total += count
    if group:
        yield group
