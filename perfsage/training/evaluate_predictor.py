"""Judge a finished predictor by examples, exactly as its users meet it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from perfsage.answers import Subject
from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric
from perfsage.models.baselines import Baseline
from perfsage.prediction import Interval, ModelSummary
from perfsage.predictor import Predictor
from perfsage.training.evaluate_scores import Judged, baseline_values
from perfsage.training.examples import Example, Target
from perfsage.training.splits import Split, hash_share, random_split

CHUNK = 64
DEVICE_TEST_SHARE = 0.2
ENOUGH_TO_CALIBRATE = 20
"""Graphs; intervals of 90 % need 9 at least."""


def judge_predictor(
    predictor: Predictor,
    train: Sequence[Example],
    test: Sequence[Example],
    makers: Mapping[str, Callable[[], Baseline]],
    noise_floor_percent: Mapping[Target, float],
    on_target: Callable[[str, Metric], None] = lambda device, metric: None,
) -> list[Judged]:
    """Return one item for each device and metric that `test` has labels of; baselines learn from `train`."""
    intervals = _intervals(predictor, test)
    judged = []
    for device in predictor.devices:
        for metric in Metric:
            target = (device.name, metric)
            rows = [i for i in range(len(test)) if target in test[i].labels and (i, *target) in intervals]
            if not rows:
                continue
            on_target(*target)
            chosen, answers = [test[i] for i in rows], [intervals[i, device.name, metric] for i in rows]
            judged.append(
                Judged(
                    device=device.name,
                    metric=metric,
                    noise_floor_percent=noise_floor_percent.get(target),
                    truth=np.array([example.labels[target] for example in chosen]),
                    value=np.array([answer.value for answer in answers]),
                    low=np.array([answer.low for answer in answers]),
                    high=np.array([answer.high for answer in answers]),
                    baselines=baseline_values(
                        target, train, [example.features for example in chosen], makers
                    ),
                    spaces=tuple(example.space for example in chosen),
                    families=tuple(example.family for example in chosen),
                    operators=np.array([example.features.operators for example in chosen]),
                )
            )
    return judged


def _intervals(predictor: Predictor, test: Sequence[Example]) -> dict[tuple[int, str, Metric], Interval]:
    """Return what the predictor answers, by example, device and metric, where it is available."""
    wanted = {device for example in test for device, _ in example.labels}
    names = [device.name for device in predictor.devices if device.name in wanted]
    found = {}
    for begin in range(0, len(test), CHUNK):
        subjects = [_subject(example) for example in test[begin : begin + CHUNK]]
        predictions = predictor.predict_subjects(subjects, names)
        for number, prediction in enumerate(predictions):
            row = begin + number // max(len(names), 1)
            for metric, answer in prediction.metrics.items():
                if isinstance(answer, Interval):
                    found[row, prediction.device, metric] = answer
    return found


def _subject(example: Example) -> Subject:
    features = example.features
    summary = ModelSummary(
        path=None,
        model_id=None,
        graph_id=features.graph_id,
        operators=features.operators,
        macs=int(features.cost("macs").sum()),
    )
    return Subject(summary=summary, features=features)


def training_split(predictor: Predictor, examples: Sequence[Example]) -> Split:
    """Return the split that the predictor was trained with: which graphs it learned from does not change."""
    options = predictor.manifest.training.get("options", {})
    calibration = float(options.get("calibration_share", 0.1))
    return random_split(examples, calibration=calibration, test=judged_share(predictor))


def judged_share(predictor: Predictor) -> float:
    """Return the share of all graphs that nothing of this predictor may be learned from."""
    return float(predictor.manifest.training.get("options", {}).get("test_share", 0.1))


def left_out_parts(examples: Sequence[Example], what: str) -> Iterator[str]:
    """Yield the spaces or families that can be left out, those with most graphs first."""
    names = [example.space if what == "space" else example.family for example in examples]
    found = sorted(set(names), key=lambda name: (-names.count(name), name))
    if len(found) < 2:
        raise InvalidInputError(
            f"there is only one {what}, {found[0]!r}: leaving it out leaves nothing",
            hint="Collect networks of another one, or judge by the random split.",
        )
    yield from found


def without_device(examples: Sequence[Example], device: Device) -> tuple[list[Example], Split]:
    """Return examples and a split under which `device` is judged and was never measured in training."""
    shares = [hash_share(example.split_key) for example in examples]
    calibrating = DEVICE_TEST_SHARE + (1 - DEVICE_TEST_SHARE) * calibration_share(len(examples))
    hidden = [
        example if share < DEVICE_TEST_SHARE else _without_labels(example, device.name)
        for example, share in zip(examples, shares, strict=True)
    ]
    return hidden, Split(
        train=tuple(i for i, share in enumerate(shares) if share >= calibrating),
        calibration=tuple(i for i, share in enumerate(shares) if DEVICE_TEST_SHARE <= share < calibrating),
        test=tuple(i for i, share in enumerate(shares) if share < DEVICE_TEST_SHARE),
    )


def _without_labels(example: Example, device: str) -> Example:
    return replace(example, labels={target: v for target, v in example.labels.items() if target[0] != device})


def calibration_share(graphs: int) -> float:
    """Return the share to calibrate on: a tenth, or more where that would be too few graphs."""
    return min(0.5, max(0.1, ENOUGH_TO_CALIBRATE / max(graphs, 1)))
