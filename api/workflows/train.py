"""From a database of measurements to a predictor on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.workflows.featuring import StoredNetwork, features_of
from api.workflows.labels import noise_floors, read_labels, stored_devices
from perfsage.device import Device
from perfsage.errors import DatasetError, MissingExtraError

if TYPE_CHECKING:
    from dataset.store import Store
    from perfsage.training.examples import Example
    from perfsage.training.options import ProgressCallback, TrainingOptions, TrainingReport


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What to train: the devices' names (none means all), where to write, and the trainer's options."""

    devices: tuple[str, ...]
    output: Path
    options: TrainingOptions
    workers: int | None = None


def train_from_store(
    store: Store,
    request: TrainingRequest,
    *,
    on_features: Callable[[int, int], None] = lambda done, total: None,
    on_training: ProgressCallback | None = None,
) -> TrainingReport:
    """Train on everything that the database knows of the devices, and write the predictor.

    `on_features` hears how many networks of how many have their features. UnknownNameError for a device
    that the database does not have, DatasetError when it has no measurement of any.
    """
    try:
        from perfsage.training.train import train
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error

    devices = stored_devices(store, request.devices)
    examples = build_examples(store, devices, workers=request.workers, on_features=on_features)
    floors = noise_floors(store, devices)
    return train(
        examples,
        devices,
        request.output,
        request.options,
        noise_floor_percent=floors,
        progress=on_training,
    )


def build_examples(
    store: Store,
    devices: Sequence[Device],
    *,
    workers: int | None = None,
    on_features: Callable[[int, int], None] = lambda done, total: None,
) -> list[Example]:
    """Return one example for each network that has been measured on any of the devices."""
    from perfsage.training.examples import Example

    labels = read_labels(store, devices)
    if not labels:
        hint = "Collect measurements with: perfsage collect"
        raise DatasetError("there is nothing to train on", where=store.url, hint=hint)
    frame = store.networks().loc[sorted(labels)]
    frame = frame[frame["operators"] > 0]  # imported sources may publish a network's name, but no graph
    if frame.empty:
        raise DatasetError("no network that was measured has a graph", where=store.url)
    networks = [_network(int(number), row) for number, row in frame.iterrows()]
    total = len(networks)
    features = features_of(store, networks, workers=workers, on_done=lambda done: on_features(done, total))
    return [
        Example(
            features=one,
            labels=labels[network.number].values,
            unavailable=labels[network.number].unavailable,
            operator_latency_ms=labels[network.number].operator_latency_ms(one),
            space=network.space or "unknown",
            family=str(family) or "unknown",
        )
        for network, one, family in zip(networks, features, frame["family"], strict=True)
    ]


def _network(number: int, row: Any) -> StoredNetwork:
    import pandas as pd

    seeded = not pd.isna(row["seed"])
    return StoredNetwork(
        number=number,
        model_id=row["model_id"],
        space=str(row["space"]) if seeded else None,
        seed=int(row["seed"]) if seeded else None,
        dtype=str(row["dtype"]),
    )
