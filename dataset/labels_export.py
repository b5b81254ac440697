"""Export a finished dataset in the form in which labels ship."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dataset.connect import reading
from dataset.extras import sa
from dataset.labels import write_labels
from dataset.schema import devices
from dataset.store import Store
from perfsage.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "space", "seed", "dtype", "family", "device", "metric", "definition", "mode", "statistic", "conditions",
    "measured_at", "value", "unavailable", "noise",
)  # fmt: skip


def export_labels(store: Store, folder: str | Path) -> dict[str, int]:
    """Write the labels of all networks that have a seed; return the rows of each file.

    Of networks with the same structure only the first one is written. Operators' measurements, samples and
    conditions that differ between networks are not part of the form. DatasetError when there is nothing.
    """
    rows = label_rows(store)
    if rows.empty:
        raise DatasetError("there are no labels of networks with a seed", where=store.url)
    with reading(store.engine) as connection:
        query = sa.select(devices.c.name, devices.c.licence)
        licences: dict[str, str] = dict(connection.execute(query).all())
    return write_labels(rows, folder, store.devices(), licences=licences)


def label_rows(store: Store) -> pd.DataFrame:
    """Return one row a measurement, as `write_labels` takes them, in the order of time."""
    import pandas as pd

    kept = set(_first_of_each_structure(store))
    frames = [_device_rows(store.frame(device=device.name), kept) for device in store.devices()]
    rows = pd.concat([pd.DataFrame(columns=list(_COLUMNS)), *(frame for frame in frames if len(frame))])
    return rows.sort_values("measured_at", kind="stable", ignore_index=True)


def _first_of_each_structure(store: Store) -> Iterator[tuple[str, int, str]]:
    owners: dict[bytes, tuple[str, int, str]] = {}
    for graph_id, space, seed, dtype in store.structures():
        found = (space, seed, dtype)
        owners[graph_id] = min(found, owners.get(graph_id, found))
    yield from owners.values()


def _device_rows(frame: pd.DataFrame, kept: set[tuple[str, int, str]]) -> pd.DataFrame:
    columns = (frame["space"], frame["seed"], frame["dtype"])
    chosen = [key in kept for key in zip(*(column.tolist() for column in columns), strict=True)]
    rows = frame.loc[chosen, list(_COLUMNS)].astype({"seed": "int64", "unavailable": object})
    texts = dict.fromkeys(rows["conditions"].tolist())
    left = {text: json.loads(text).get("cpu_operators", 0) for text in texts}
    rows["cpu_operators"] = [left[text] for text in rows["conditions"].tolist()]
    return rows
