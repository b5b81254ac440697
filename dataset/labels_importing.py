"""Add shipped labels to a database; their networks are built again to learn who they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset.connect import insert_missing, writing
from dataset.label_columns import Column
from dataset.labels_reading import LabelFile, LabelSet, open_labels
from dataset.records import Network
from dataset.schema import devices
from dataset.store import Key, Store
from perfsage.errors import DatasetError, InvalidInputError
from perfsage.measurement import Measurement
from perfsage.metrics import parse_metric

if TYPE_CHECKING:
    import pandas as pd

_BATCH_NETWORKS = 250
_DEVICE_TEXTS = ("name", "kind", "description", "tool", "tool_version", "source", "licence")
_DEVICE_OBJECTS = ("metrics", "unavailable", "descriptors")

Build = Callable[[str, str, Iterable[int]], Iterator[Network]]
"""From space, dtype and seeds to the networks' records, in order."""
OnProgress = Callable[[int, int], None]
Columns = dict[tuple[str, str, str], tuple[Column, bool]]
"""By device, metric and definition: the column, and whether the device is an NPU."""


def import_labels(
    store: Store,
    folder: str | Path,
    build: Build,
    *,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, int]:
    """Add every label that the database has not, and return how many networks and measurements were read.

    Everything is checked before anything is added. Then batches of networks are added, each all or nothing;
    interrupted, the next import goes on where this one stopped. InvalidInputError where the labels are
    damaged, DatasetError where a network is not built as it was when it was labelled.
    """
    labels = open_labels(folder)
    described = [_device_row(row, labels) for row in labels.devices]
    counts = {"networks": 0, "measurements": 0}
    for file in labels.files:
        counts["networks"] += file.networks
        counts["measurements"] += len(labels.read(file))
    with writing(store.engine) as connection:
        insert_missing(connection, devices, sorted(described, key=lambda row: str(row["name"])))
    done = 0
    for file in labels.files:
        for networks in _import_file(store, labels, file, build):
            done += networks
            on_progress(done, counts["networks"])
    return counts


def _device_row(row: dict[str, Any], labels: LabelSet) -> dict[str, Any]:
    try:
        for name in _DEVICE_OBJECTS:
            if not isinstance(json.loads(row[name]), dict):
                raise ValueError(f"{name} is not a JSON object")
        for metric in (*json.loads(row["metrics"]), *json.loads(row["unavailable"])):
            parse_metric(metric)
        return {name: str(row[name]) for name in (*_DEVICE_TEXTS, *_DEVICE_OBJECTS)}
    except (KeyError, TypeError, ValueError) as error:
        where = f"{labels.folder}, device {row.get('name')}"
        raise InvalidInputError(f"a device is not described as it should be: {error}", where=where) from error


def _import_file(store: Store, labels: LabelSet, file: LabelFile, build: Build) -> Iterator[int]:
    """Add what is missing of one file; yield how many networks each step has dealt with."""
    rows = labels.read(file)
    rows = rows[~rows["seed"].isin(_complete(store, file, rows))]
    npus = {str(row["name"]) for row in labels.devices if row["kind"] == "npu"}
    columns = {(c.device, c.metric.value, c.definition): (c, c.device in npus) for c in labels.columns}
    groups = rows.groupby("seed", sort=True)
    yield file.networks - len(groups)
    built = build(file.space, file.dtype, [int(seed) for seed in groups.groups])
    pairs = zip(groups, built, strict=True)
    while batch := list(islice(pairs, _BATCH_NETWORKS)):
        measurements = [
            measurement
            for (_, part), network in batch
            for measurement in _measurements(part, network, columns, labels.created_at)
        ]
        store.add_outcomes([network for _, network in batch], measurements)
        yield len(batch)


def _complete(store: Store, file: LabelFile, rows: pd.DataFrame) -> set[int]:
    """Return the seeds of which the database knows every device that the file has."""
    known: dict[str, set[Key]] = {}
    for device in rows["device"].unique():
        known[device] = store.done(device, space=file.space, dtype=file.dtype)
    pairs = rows[["seed", "device"]].drop_duplicates()
    missing = {
        seed
        for seed, device in zip(pairs["seed"].tolist(), pairs["device"].tolist(), strict=True)
        if (file.space, seed, file.dtype) not in known[device]
    }
    return set(pairs["seed"].tolist()) - missing


def _measurements(
    part: pd.DataFrame,
    network: Network,
    columns: dict[tuple[str, str, str], tuple[Column, bool]],
    at: datetime,
) -> Iterator[Measurement]:
    _check_same(part, network)
    names = ("device", "metric", "definition", "value", "unavailable", "cpu_operators", "noise")
    for device, metric, definition, value, text, left, noise in zip(
        *(part[name].tolist() for name in names), strict=True
    ):
        column, is_npu = columns[device, metric, definition]
        reason = text if isinstance(text, str) else None
        conditions = dict(column.conditions)
        if reason is None:
            conditions |= {"cpu_operators": left} if is_npu else {}
            conditions |= {"noise": noise} if math.isfinite(noise) else {}
        yield Measurement(
            model_id=network.model_id,
            graph_id=network.graph_id,
            device=device,
            metric=column.metric,
            definition=definition,
            mode=column.mode,
            statistic=column.statistic,
            tool=column.tool,
            tool_version=column.tool_version,
            value=value if reason is None else None,
            unavailable=reason,
            conditions=conditions,
            measured_at=at,
        )


def _check_same(part: pd.DataFrame, network: Network) -> None:
    """Raise DatasetError where the network is not the one that was labelled, as far as that is known."""
    check = int(part["model_check"].iloc[0])
    sizes = part.loc[(part["definition"] == "model_file") & part["value"].notna(), "value"]
    same = check in (-1, int(network.model_id[:8], 16))
    if not same or (sizes != network.file_bytes).any():
        raise DatasetError(
            "a network is not built as it was when it was labelled",
            where=f"{network.space} seed {network.seed} {network.dtype}",
            hint="The labels come from another version of PerfSAGE: use that one to import them.",
        )
