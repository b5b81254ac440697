"""From examples to a predictor on disk, in one call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric
from perfsage.models.calibration import Calibration
from perfsage.models.gnn import GraphNetwork
from perfsage.models.manifest import (
    ARRAYS_NAME,
    MANIFEST_NAME,
    NETWORK_NAME,
    DeviceEntry,
    Manifest,
    file_hash,
)
from perfsage.models.session import NetworkSession
from perfsage.training.calibrate import fewest_scores, fit_calibration
from perfsage.training.corpus import Corpus
from perfsage.training.distributed import process, team, wait_for_all
from perfsage.training.entries import describe_entries
from perfsage.training.evaluate import evaluate
from perfsage.training.examples import Example, Target
from perfsage.training.export import export_onnx
from perfsage.training.loop import choose_accelerator, fit
from perfsage.training.options import ProgressCallback, Score, TrainingOptions, TrainingReport
from perfsage.training.splits import Split, hash_share, random_split

CHECKPOINT_NAME = "checkpoint.npz"
FEWEST_GRAPHS = 10
EXACT_SHARE = 0.1


def train(
    examples: Sequence[Example],
    devices: Sequence[Device],
    output_dir: Path,
    options: TrainingOptions | None = None,
    *,
    split: Split | None = None,
    noise_floor_percent: Mapping[Target, float] | None = None,
    progress: ProgressCallback | None = None,
) -> TrainingReport:
    """Train on `examples`, calibrate and score on what is held out, and write the predictor to `output_dir`.

    Without `split`, graphs are split at random by their group. An interrupted run continues from the
    checkpoint in `output_dir` when it is called again with the same arguments. Started by `torchrun`, every
    process takes part, and the first one writes. InvalidInputError where there is too little to learn from.
    """
    started = time.monotonic()
    options = options or TrainingOptions()
    split = split or _random_split(examples, options)
    parts = {name: [examples[i] for i in getattr(split, name)] for name in Split.__slots__}
    _check(parts, devices, options.level)
    output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = output_dir / CHECKPOINT_NAME
    entries = describe_entries(devices, parts["train"])
    corpus = Corpus(_to_fit(parts["train"], entries), [device.name for device in devices])
    with team(choose_accelerator(options.accelerator)):
        network, epochs = fit(corpus, devices, options, checkpoint, progress)
        scores: tuple[Score, ...] = ()
        if process() == 0:
            calibration = _write_network(network, parts, devices, options, output_dir)
            session = NetworkSession(output_dir / NETWORK_NAME)
            scores = evaluate(
                session, calibration, entries, parts["train"], parts["test"], noise_floor_percent
            )
            seconds = time.monotonic() - started
            training = _training_record(parts, options, epochs, seconds)
            _write_manifest(entries, training, scores, options, output_dir)
            checkpoint.unlink(missing_ok=True)
        wait_for_all()
    graphs = {name: len(part) for name, part in parts.items()}
    return TrainingReport(output_dir, graphs, epochs, time.monotonic() - started, scores)


def _write_network(
    network: GraphNetwork,
    parts: Mapping[str, Sequence[Example]],
    devices: Sequence[Device],
    options: TrainingOptions,
    output_dir: Path,
) -> Calibration:
    """Export the network, and calibrate what was exported."""
    export_onnx(network, output_dir / NETWORK_NAME)
    calibration = fit_calibration(
        NetworkSession(output_dir / NETWORK_NAME),
        [example.features for example in parts["train"]],
        [example.features for example in parts["calibration"]],
        Corpus(parts["calibration"], [device.name for device in devices]).log_labels,
        options.level,
        [example.features for example in parts["train"] if _is_timed(example)],
    )
    with (output_dir / ARRAYS_NAME).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **calibration.to_arrays())
    return calibration


def _training_record(
    parts: Mapping[str, Sequence[Example]], options: TrainingOptions, epochs: int, seconds: float
) -> dict[str, Any]:
    return {
        "graphs": {name: len(part) for name, part in parts.items()},
        "spaces": _count(parts["train"], "space"),
        "families": _count(parts["train"], "family"),
        "options": options.to_dict(),
        "epochs": epochs,
        "elapsed_s": round(seconds, 1),
    }


def _write_manifest(
    entries: tuple[DeviceEntry, ...],
    training: Mapping[str, Any],
    scores: Sequence[Score],
    options: TrainingOptions,
    output_dir: Path,
) -> None:
    manifest = Manifest(
        name=options.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        devices=entries,
        training=training,
        evaluation=tuple(asdict(score) for score in scores),
        files={name: file_hash(output_dir / name) for name in (NETWORK_NAME, ARRAYS_NAME)},
    )
    (output_dir / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")


def _random_split(examples: Sequence[Example], options: TrainingOptions) -> Split:
    """Split at random, with as many calibration graphs as intervals need."""
    share = options.calibration_share
    while True:
        split = random_split(examples, calibration=share, test=options.test_share)
        if len(split.calibration) >= fewest_scores(options.level) or share + options.test_share > 0.7:
            return split
        share += 0.02


def _to_fit(examples: Sequence[Example], entries: Sequence[DeviceEntry]) -> list[Example]:
    """Return the examples that teach the network something.

    What a graph total equals exactly is learned from one graph in ten, for graphs where that is not known.
    """
    exact = {(entry.device.name, metric) for entry in entries for metric in entry.exact}
    kept = []
    for example in examples:
        if exact and hash_share(example.split_key, "exact") >= EXACT_SHARE:
            labels = {target: value for target, value in example.labels.items() if target not in exact}
            example = replace(example, labels=labels)
        if example.labels:
            kept.append(example)
    return kept


def _is_timed(example: Example) -> bool:
    return any(metric is Metric.LATENCY_MS for _, metric in example.labels)


def _check(parts: Mapping[str, Sequence[Example]], devices: Sequence[Device], level: float) -> None:
    if not devices:
        raise InvalidInputError("there is no device to train for", hint="Name at least one.")
    needed = fewest_scores(level)
    if len(parts["train"]) < FEWEST_GRAPHS or len(parts["calibration"]) < needed:
        counts = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
        raise InvalidInputError(
            f"there are too few graphs to learn from ({counts})",
            hint=f"Collect more: training needs {FEWEST_GRAPHS}, {level:.0%} intervals another {needed}.",
        )
    known = {device.name for device in devices}
    if not any(name in known for example in parts["train"] for name, _ in example.labels):
        raise InvalidInputError("no graph has a label of these devices", where=", ".join(sorted(known)))


def _count(examples: Sequence[Example], field: str) -> dict[str, int]:
    names = [str(getattr(example, field)) for example in examples]
    return {name: names.count(name) for name in sorted(set(names))}
