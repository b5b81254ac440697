"""Labels in the form in which they ship: one wide Parquet file a space and dtype, one row a network.

manifest.json             format, version, devices, columns, rows of each file; written last
SPACE-DTYPE.parquet       seed, family, and for each column of the manifest its value and, where some are
                          unavailable, the reason; `DEVICE|cpu_operators` where an NPU leaves some to the CPU

Networks are not in it: they are built again from space, seed and dtype. `model_check`, where it is there,
holds the first four bytes of the model id, so that a network that is built differently is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.label_columns import Column, choose_kind
from dataset.tables import MANIFEST, pa
from dataset.writing import device_row
from perfsage.device import Device
from perfsage.errors import DatasetError, InvalidInputError
from perfsage.measurement import Mode, Statistic
from perfsage.metrics import parse_metric

if TYPE_CHECKING:
    import pandas as pd

LABELS_FORMAT = "perfsage-labels"
LABELS_VERSION = 1
NETWORK_KEY = ["space", "dtype", "seed"]
QUANTITY_KEY = ["device", "metric", "definition"]
ROW_COLUMNS = (*NETWORK_KEY, "family", *QUANTITY_KEY, "value", "unavailable", "cpu_operators")
OPTIONAL_COLUMNS = ("mode", "statistic", "conditions", "noise", "model_id")


def write_labels(
    rows: pd.DataFrame, folder: str | Path, devices: Sequence[Device], *, licences: Mapping[str, str] = {}
) -> dict[str, int]:
    """Write one row a measurement (`ROW_COLUMNS`) in the shipped form; return the rows of each file.

    Of several measurements of the same quantity the last one counts. Optional columns: `mode` (without it,
    simulated for NPUs and measured for others), `statistic` (exact without it), `conditions` (JSON; what
    all rows of a column share is kept), `noise`, `model_id`.
    InvalidInputError for missing columns, devices that are not in `devices`, and values that are neither
    finite nor explained.
    """
    target = Path(folder)
    table = _checked(rows, devices)
    columns = _columns(table, {device.name: device for device in devices})
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / MANIFEST).unlink(missing_ok=True)
        files: dict[str, int] = {}
        for (space, dtype), part in table.groupby(["space", "dtype"], observed=True):
            name = f"{space}-{dtype}.parquet"
            files[name] = _write_file(target / name, part, columns)
        _write_manifest(target, devices, licences, columns, files)
    except OSError as error:
        raise DatasetError(f"the labels cannot be written: {error.strerror}", where=str(target)) from error
    return files


def _checked(rows: pd.DataFrame, devices: Sequence[Device]) -> pd.DataFrame:
    if missing := [name for name in ROW_COLUMNS if name not in rows]:
        raise InvalidInputError(f"the rows have no column {missing[0]!r}", hint=f"Needed: {ROW_COLUMNS}.")
    known = {device.name: device for device in devices}
    if strangers := sorted(set(rows["device"].unique()) - known.keys()):
        raise InvalidInputError(f"the device {strangers[0]!r} is not described", hint="Describe it, too.")
    for metric in rows["metric"].unique():
        parse_metric(metric)
    table = rows[[*ROW_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in rows)]].copy()
    simulated = table["device"].map({name: device.kind == "npu" for name, device in known.items()})
    if "mode" not in table:
        table["mode"] = np.where(simulated.astype(bool), Mode.SIMULATED.value, Mode.MEASURED.value)
    if "statistic" not in table:
        table["statistic"] = Statistic.EXACT.value
    table = table.drop_duplicates([*NETWORK_KEY, *QUANTITY_KEY], keep="last")
    table["unavailable"] = table["unavailable"].astype(object).where(table["unavailable"].notna(), None)
    value = table["value"].astype("float64")
    wrong = (np.isfinite(value) == table["unavailable"].notna()) | (value < 0) | np.isinf(value)
    if wrong.any():
        first = table[wrong].iloc[0][[*NETWORK_KEY, *QUANTITY_KEY, "value"]].to_dict()
        raise InvalidInputError(f"a value is neither finite nor explained: {first}")
    return table.sort_values(NETWORK_KEY, kind="stable")


def _columns(table: pd.DataFrame, devices: Mapping[str, Device]) -> list[Column]:
    columns = []
    for (name, metric, definition), part in table.groupby(QUANTITY_KEY, sort=True, observed=True):
        device = devices[name]
        known = part[part["unavailable"].isna()]
        values = part["value"].to_numpy("float64", na_value=np.nan)
        kind, clock_hz = choose_kind(parse_metric(metric), values, device.descriptors.get("clock_hz"))
        mode, statistic = (_one(known if len(known) else part, key) for key in ("mode", "statistic"))
        columns.append(
            Column(
                device=name,
                metric=parse_metric(metric),
                definition=definition,
                mode=Mode(mode),
                statistic=Statistic(statistic),
                tool=device.tool,
                tool_version=device.tool_version,
                kind=kind,
                clock_hz=clock_hz,
                conditions=_shared(known["conditions"]) if "conditions" in part else {},
            )
        )
    return columns


def _shared(texts: Iterable[str]) -> dict[str, Any]:
    """Return the conditions that are the same in all rows."""
    found = [json.loads(text) for text in dict.fromkeys(texts)]
    first = found[0] if found else {}
    return {key: value for key, value in first.items() if all(row.get(key) == value for row in found)}


def _one(part: pd.DataFrame, key: str) -> str:
    found = part[key].unique()
    if len(found) > 1:
        where = "|".join(map(str, part.iloc[0][QUANTITY_KEY]))
        raise InvalidInputError(f"a column holds one {key}, and here are {', '.join(found)}", where=where)
    return str(found[0])


def _write_file(path: Path, part: pd.DataFrame, columns: Sequence[Column]) -> int:
    from pyarrow import parquet

    networks = part.drop_duplicates("seed").set_index("seed")
    arrays: dict[str, Any] = {
        "seed": pa.array(networks.index.to_numpy("int64")),
        "family": pa.array(networks["family"].astype(str)).dictionary_encode(),
    }
    if "model_id" in part:
        arrays["model_check"] = pa.array([int(text[:8], 16) for text in networks["model_id"]], pa.uint32())
    groups = dict(list(part.groupby(QUANTITY_KEY, observed=True)))
    for column in columns:
        found = groups.get((column.device, column.metric.value, column.definition))
        if found is not None:
            arrays |= _arrays(column, found.set_index("seed").reindex(networks.index))
    arrays |= _left_to_cpu(part[part["unavailable"].isna()], networks.index)
    table = pa.table(arrays)
    numeric = [field.name for field in table.schema if not pa.types.is_dictionary(field.type)]
    parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in table.schema.names if name not in numeric],
        use_byte_stream_split=[name for name in numeric if name != "seed"],
        column_encoding={"seed": "DELTA_BINARY_PACKED"},
    )
    return int(table.num_rows)


def _arrays(column: Column, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the value of one quantity for each network, with what belongs to it."""
    arrays = {column.name: column.encode(rows["value"].to_numpy("float64", na_value=np.nan))}
    if rows["unavailable"].notna().any():
        texts = pa.array(rows["unavailable"], pa.string(), from_pandas=True)
        arrays[f"{column.name}|unavailable"] = texts.dictionary_encode()
    if "noise" in rows and rows["noise"].notna().any():
        arrays[f"{column.name}|noise"] = pa.array(rows["noise"], pa.float32(), from_pandas=True)
    return arrays


def _left_to_cpu(known: pd.DataFrame, seeds: pd.Index) -> dict[str, Any]:
    """Return how many operators each NPU leaves to the CPU, for NPUs that do."""
    arrays = {}
    for device, rows in known[known["cpu_operators"] > 0].groupby("device", observed=True):
        left = rows.groupby("seed")["cpu_operators"].max().reindex(seeds, fill_value=0)
        arrays[f"{device}|cpu_operators"] = pa.array(left.to_numpy("int64"), pa.int32())
    return arrays


def _write_manifest(
    folder: Path,
    devices: Sequence[Device],
    licences: Mapping[str, str],
    columns: Sequence[Column],
    files: Mapping[str, int],
) -> None:
    used = {column.device for column in columns}
    manifest = {
        "format": LABELS_FORMAT,
        "version": LABELS_VERSION,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "devices": [
            device_row(device, licences.get(device.name, "")) for device in devices if device.name in used
        ],
        "columns": [column.to_dict() for column in columns],
        "files": dict(files),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
