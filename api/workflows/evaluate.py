"""Judge a predictor by the measurements of a database, or by model files that are measured now."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfsage.errors import InvalidInputError, MissingExtraError

if TYPE_CHECKING:
    from perfsage.metrics import Metric
    from perfsage.models.baselines import Baseline
    from perfsage.predictor import Predictor
    from perfsage.training.examples import Example, Target
    from perfsage.training.options import Score, TrainingOptions
    from perfsage.training.report import Part
    from perfsage.training.splits import Split

Narrator = Callable[[str], None]
LEAVE_OUT = ("space", "family", "device")
BASELINE_SETS = ("quick", "all", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What to judge by: a database, a folder of models, or both; and how.

    With `leave_out`, a predictor is trained for each part left out, for `time_limit_s` each, with the
    options that `predictor` was trained with; `only` names the parts to leave out.
    """

    predictor: str
    database: str | None = None
    models: Path | None = None
    devices: tuple[str, ...] = ()
    leave_out: str | None = None
    only: tuple[str, ...] = ()
    time_limit_s: float | None = None
    baselines: str = "quick"
    baseline_seconds: float = 60.0
    report: Path | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it, by part; `report` is the HTML file where one was written."""

    predictor: str
    parts: tuple[Part, ...]
    report: Path | None

    @property
    def scores(self) -> list[tuple[str, Score]]:
        """Every score with the title of its part."""
        from perfsage.training.evaluate_scores import scores_of

        return [
            (part.title, score)
            for part in self.parts
            for judged in part.judged
            for score in scores_of(judged)
        ]


def evaluate_predictor(request: EvaluationRequest, narrate: Narrator = lambda text: None) -> Evaluation:
    """Judge the predictor, and write the report where one is asked for.

    InvalidInputError for a request that asks for nothing or contradicts itself; PredictorError,
    DatasetError and UnknownNameError for what it names.
    """
    _check(request)
    try:
        from perfsage.training.report import html_report
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    from perfsage.predictor import load_predictor

    predictor = load_predictor(request.predictor)
    stored = _stored(request, predictor, narrate)
    parts = _parts(request, predictor, stored, narrate)
    if request.report is not None:
        info = predictor.info
        facts = {
            "Predictor": f"{info.name}, version {info.version}, of {info.created_at}",
            "Trained on": f"{info.trained_on_graphs} graphs",
            "Judged by": str(request.database or request.models),
        }
        text = html_report(f"Evaluation of {info.name}", facts, parts)
        request.report.parent.mkdir(parents=True, exist_ok=True)
        request.report.write_text(text, encoding="utf-8")
    return Evaluation(predictor.info.name, tuple(parts), request.report)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The examples of a database, and how far its labels repeat themselves."""

    examples: Sequence[Example] = ()
    floors: Mapping[Target, float] | None = None


def _check(request: EvaluationRequest) -> None:
    if request.database is None and request.models is None:
        raise InvalidInputError("there is nothing to judge by", hint="Give a database, a folder, or both.")
    if request.leave_out is not None and (request.leave_out not in LEAVE_OUT or request.database is None):
        raise InvalidInputError(
            f"{request.leave_out!r} cannot be left out",
            hint=f"Give a database, and one of: {', '.join(LEAVE_OUT)}.",
        )
    if request.baselines not in BASELINE_SETS:
        raise InvalidInputError(
            f"there are no baselines {request.baselines!r}", hint=f"Known: {', '.join(BASELINE_SETS)}."
        )


def _makers(request: EvaluationRequest) -> Mapping[str, Callable[[], Baseline]]:
    from perfsage.models.baselines import BASELINES, all_baselines

    if request.baselines == "none":
        return {}
    return all_baselines(seconds=request.baseline_seconds) if request.baselines == "all" else BASELINES


def _names(request: EvaluationRequest, predictor: Predictor) -> list[str]:
    from perfsage.errors import UnknownNameError

    known = [device.name for device in predictor.devices]
    missing = [name for name in request.devices if name not in known]
    if missing:
        raise UnknownNameError(
            f"the predictor knows no device {missing[0]!r}", hint=f"Known devices: {', '.join(known)}."
        )
    return list(request.devices) or known


def _stored(request: EvaluationRequest, predictor: Predictor, narrate: Narrator) -> _Stored:
    if request.database is None:
        return _Stored()
    from api.workflows.labels import noise_floors
    from api.workflows.train import build_examples
    from dataset.store import Store

    names = _names(request, predictor)
    with Store.open(request.database, create=False) as store:
        devices = [device for device in store.devices() if device.name in names]
        narrate("reading measurements and extracting features")
        return _Stored(build_examples(store, devices), noise_floors(store, devices))


def _parts(
    request: EvaluationRequest, predictor: Predictor, stored: _Stored, narrate: Narrator
) -> list[Part]:
    from perfsage.training.evaluate_predictor import judge_predictor, training_split
    from perfsage.training.report import Part

    if request.leave_out is not None:
        return _left_out(request, predictor, stored, narrate)
    split = training_split(predictor, stored.examples)
    train = [stored.examples[i] for i in split.train]
    tests: list[tuple[str, Sequence[Example]]] = []
    if request.database is not None:
        tests.append(("Random split by graph: the graphs held out", [stored.examples[i] for i in split.test]))
    if request.models is not None:
        tests.append((f"Models in {request.models.name}", _measured(request, predictor, narrate)))

    def on_target(device: str, metric: Metric) -> None:
        narrate(f"judging {metric.value} of {device}")

    floors = stored.floors or {}
    return [
        Part(title, tuple(judge_predictor(predictor, train, test, _makers(request), floors, on_target)))
        for title, test in tests
    ]


def _left_out(
    request: EvaluationRequest, predictor: Predictor, stored: _Stored, narrate: Narrator
) -> list[Part]:
    """Train without each part in turn, and judge by it."""
    from perfsage.training.evaluate_predictor import calibration_share, left_out_parts, without_device
    from perfsage.training.splits import leave_out

    devices = [
        entry.device
        for entry in predictor.manifest.devices
        if entry.device.name in _names(request, predictor)
    ]
    made = []
    if request.leave_out == "device":
        described = [device for device in devices if device.descriptors]
        for device in [d for d in described if not request.only or d.name in request.only]:
            examples, split = without_device(stored.examples, device)
            made.append((device.name, examples, split, [device.name]))
    else:
        what = str(request.leave_out)
        for name in left_out_parts(stored.examples, what):
            if not request.only or name in request.only:
                by_space = what == "space"
                split = leave_out(
                    stored.examples,
                    space=name if by_space else None,
                    family=None if by_space else name,
                    calibration=calibration_share(len(stored.examples) // 2),
                )
                made.append((name, list(stored.examples), split, [d.name for d in devices]))
    if not made:
        raise InvalidInputError(
            f"there is no {request.leave_out} to leave out", hint="Devices need descriptors to be left out."
        )
    return [_without(request, predictor, stored, narrate, *one) for one in made]


def _without(
    request: EvaluationRequest,
    predictor: Predictor,
    stored: _Stored,
    narrate: Narrator,
    name: str,
    examples: Sequence[Example],
    split: Split,
    judged: Sequence[str],
) -> Part:
    from perfsage.predictor import load_predictor
    from perfsage.training import train
    from perfsage.training.evaluate_predictor import judge_predictor
    from perfsage.training.report import Part

    narrate(f"training without {request.leave_out} {name}")
    devices = [entry.device for entry in predictor.manifest.devices]
    with tempfile.TemporaryDirectory(prefix="perfsage-") as folder:
        report = train(
            examples, devices, Path(folder) / "predictor", _options(request, predictor), split=split
        )
        fresh = load_predictor(report.output_dir)
        test = [_only(examples[i], judged) for i in split.test]
        learned = [examples[i] for i in split.train]
        found = judge_predictor(fresh, learned, test, _makers(request), stored.floors or {})
    return Part(f"Without {request.leave_out} {name}", tuple(found))


def _only(example: Example, devices: Sequence[str]) -> Example:
    labels = {target: value for target, value in example.labels.items() if target[0] in devices}
    return replace(example, labels=labels)


def _options(request: EvaluationRequest, predictor: Predictor) -> TrainingOptions:
    """Return the options that the predictor was trained with, ended after the time limit."""
    from dataclasses import fields

    from perfsage.training import TrainingOptions

    known = {field.name for field in fields(TrainingOptions)}
    stored = predictor.manifest.training.get("options", {})
    options = TrainingOptions(**{name: value for name, value in stored.items() if name in known})
    return replace(options, resume=False, time_limit_s=request.time_limit_s or options.time_limit_s)


def _measured(request: EvaluationRequest, predictor: Predictor, narrate: Narrator) -> list[Example]:
    """Return the models of the folder with labels from the devices that can be had here."""
    from api.workflows.profile import profile_models
    from perfsage.features import extract_features
    from perfsage.training.examples import Example
    from profilers.profiler import Plan
    from profilers.registry import describe, device_names

    assert request.models is not None
    paths = sorted(request.models.glob("*.tflite"))
    if not paths:
        raise InvalidInputError("there is no .tflite file", where=str(request.models))
    here = [name for name in _names(request, predictor) if name in device_names()]
    simulated = [name for name in here if request.devices or describe(name).kind in ("npu", "mcu")]
    if not simulated:
        raise InvalidInputError("none of the predictor's devices can be measured here")
    narrate(f"measuring {len(paths)} models on {', '.join(simulated)}")
    outcomes = profile_models(paths, devices=simulated, plan=Plan())
    made: dict[Path, Example] = {}
    for outcome in outcomes:
        path = outcome.model.path
        assert path is not None
        if path not in made:
            features = extract_features(outcome.model.graph)
            made[path] = Example(features=features, labels={}, space="models", family=path.stem)
        labels = dict(made[path].labels)
        for measurement in outcome.measurements:
            definition = describe(measurement.device).metrics.get(measurement.metric)
            if measurement.operator is None and measurement.value and measurement.definition == definition:
                labels[measurement.device, measurement.metric] = measurement.value
        made[path] = replace(made[path], labels=labels)
    return list(made.values())
