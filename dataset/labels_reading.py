"""Read shipped labels back as rows, one a measurement, having checked everything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.label_columns import Column
from dataset.labels import LABELS_FORMAT, LABELS_VERSION, QUANTITY_KEY
from dataset.tables import MANIFEST, pa
from perfsage.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

_MANIFEST_LIMIT_BYTES = 4 << 20
_FILE_LIMIT_BYTES = 256 << 20
_FILE_LIMIT_ROWS = 10_000_000
_CATEGORIES = ("space", "dtype", "family", *QUANTITY_KEY, "mode", "statistic", "tool", "tool_version")


@dataclass(frozen=True, slots=True)
class LabelFile:
    """One file of shipped labels: the networks of one space and dtype."""

    path: Path
    space: str
    dtype: str
    networks: int


@dataclass(frozen=True, slots=True)
class LabelSet:
    """A folder of shipped labels; `devices` are rows as the database has them."""

    folder: Path
    created_at: datetime
    devices: tuple[dict[str, Any], ...]
    columns: tuple[Column, ...]
    files: tuple[LabelFile, ...]

    def read(self, file: LabelFile) -> pd.DataFrame:
        """Return the measurements of one file, ordered by seed; InvalidInputError where it is damaged."""
        table = _table(file)
        rows = _rows(file, table, self.columns)
        if unknown := sorted(set(table.column_names) - {"seed", "family", "model_check", *_names(self)}):
            raise _wrong(file, f"the column {unknown[0]!r} is not in the manifest")
        return rows.sort_values("seed", kind="stable", ignore_index=True)


def is_labels(folder: str | Path) -> bool:
    """Say whether a folder's manifest is one of shipped labels."""
    try:
        return _manifest(Path(folder)).get("format") == LABELS_FORMAT
    except InvalidInputError:
        return False


def open_labels(folder: str | Path) -> LabelSet:
    """Read the manifest; InvalidInputError says what is wrong with it, or which file is not there."""
    path = Path(folder) / MANIFEST
    manifest = _manifest(Path(folder))
    if manifest.get("format") != LABELS_FORMAT:
        raise InvalidInputError("this folder holds no shipped labels", where=str(path))
    if manifest.get("version") != LABELS_VERSION:
        raise InvalidInputError(
            f"the labels have version {manifest.get('version')}, and this PerfSAGE reads {LABELS_VERSION}",
            where=str(path),
            hint="Get the version of PerfSAGE that they came with.",
        )
    try:
        columns = tuple(Column.from_dict(row, str(path)) for row in manifest["columns"])
        devices = tuple(dict(row) for row in manifest["devices"])
        files = tuple(_file(path.parent, name, rows) for name, rows in manifest["files"].items())
        names = {row["name"] for row in devices}
        created_at = datetime.fromisoformat(manifest["created_at"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInputError(f"the manifest is incomplete: {error}", where=str(path)) from error
    if strangers := sorted({column.device for column in columns} - names):
        raise InvalidInputError(f"the device {strangers[0]!r} is not described", where=str(path))
    return LabelSet(path.parent, created_at, devices, columns, files)


def read_labels(folder: str | Path) -> pd.DataFrame:
    """Return everything as one row a measurement, with the columns that `write_labels` takes.

    There are also `tool`, `tool_version` and `model_check` (-1 where the labels have none). Values of
    bytes and cycles are exactly those that were measured, others are rounded to float32.
    """
    import pandas as pd

    labels = open_labels(folder)
    frames = [labels.read(file) for file in labels.files]
    if not frames:
        raise InvalidInputError("there are no labels", where=str(folder))
    for name in _CATEGORIES:
        union = sorted(set().union(*(frame[name].cat.categories for frame in frames)))
        for frame in frames:
            frame[name] = frame[name].cat.set_categories(union)
    return pd.concat(frames, ignore_index=True)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MANIFEST_LIMIT_BYTES))
    except OSError as error:
        raise InvalidInputError(f"there is no manifest: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"the manifest is not JSON: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise InvalidInputError("the manifest is not a JSON object", where=str(path))
    return found


def _file(folder: Path, name: str, rows: int) -> LabelFile:
    space, _, rest = name.rpartition("-")
    dtype, _, kind = rest.partition(".")
    if kind != "parquet" or not space or Path(name).name != name or not 0 <= rows <= _FILE_LIMIT_ROWS:
        raise ValueError(f"{name!r} with {rows!r} rows is no file of labels")
    return LabelFile(folder / name, space, dtype, rows)


def _names(labels: LabelSet) -> set[str]:
    names = {f"{column.name}{end}" for column in labels.columns for end in ("", "|unavailable", "|noise")}
    return names | {f"{column.device}|cpu_operators" for column in labels.columns}


def _wrong(file: LabelFile, what: str) -> InvalidInputError:
    return InvalidInputError(what, where=str(file.path), hint="Nothing of this file was imported.")


def _table(file: LabelFile) -> Any:
    from pyarrow import parquet

    try:
        if file.path.stat().st_size > _FILE_LIMIT_BYTES:
            raise _wrong(file, "a file of labels is never this large")
        if (rows := parquet.read_metadata(file.path).num_rows) != file.networks:
            raise _wrong(file, f"the file has {rows} rows, and the manifest promises {file.networks}")
        table = parquet.read_table(file.path, partitioning=None)
        seeds = table["seed"].cast(pa.int64()).to_numpy()
    except (pa.ArrowException, OSError, KeyError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _wrong(file, f"the file cannot be read: {what}") from error
    if len(np.unique(seeds)) != len(seeds) or (seeds < 0).any():
        raise _wrong(file, "a seed is negative or stands twice")
    return table


def _rows(file: LabelFile, table: Any, columns: tuple[Column, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        base = _base(file, table)
        pieces = [_piece(table, base, column) for column in columns if column.name in table.column_names]
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise _wrong(file, f"a column has another type than it should: {error}") from error
    if not pieces:
        raise _wrong(file, "the file has no column of the manifest")
    for name in ("device", "metric", "definition", "mode", "statistic", "tool", "tool_version"):
        values = sorted({piece[name] for piece, _ in pieces})
        for piece, _ in pieces:
            piece[name] = pd.Categorical([piece[name]], values).repeat(len(piece["value"]))
    rows = pd.concat(
        [base.iloc[kept].reset_index(drop=True).assign(**piece) for piece, kept in pieces], ignore_index=True
    )
    if not ((rows["value"] >= 0) & (rows["value"] < np.inf) | rows["unavailable"].notna()).all():
        raise _wrong(file, "a value is negative or not finite")
    return rows


def _base(file: LabelFile, table: Any) -> pd.DataFrame:
    import pandas as pd

    rows = table.num_rows
    checks = table["model_check"].to_numpy().astype(np.int64) if "model_check" in table.column_names else -1
    return pd.DataFrame(
        {
            "space": pd.Categorical([file.space]).repeat(rows),
            "dtype": pd.Categorical([file.dtype]).repeat(rows),
            "seed": table["seed"].to_numpy().astype(np.int64),
            "family": pd.Categorical(table["family"].cast(pa.string()).to_pylist()),
            "model_check": checks,
        }
    )


def _piece(table: Any, base: pd.DataFrame, column: Column) -> tuple[dict[str, Any], Any]:
    """Return the columns of one quantity, and which networks it was measured of."""
    value = column.decode(table[column.name])
    reason = _texts(table, f"{column.name}|unavailable")
    kept = np.isfinite(value) | np.array([text is not None for text in reason], bool)
    piece = {
        "device": column.device,
        "metric": column.metric.value,
        "definition": column.definition,
        "mode": column.mode.value,
        "statistic": column.statistic.value,
        "tool": column.tool,
        "tool_version": column.tool_version,
        "value": value[kept],
        "unavailable": reason[kept],
        "cpu_operators": _numbers(table, f"{column.device}|cpu_operators")[kept],
        "noise": _numbers(table, f"{column.name}|noise")[kept],
    }
    piece["cpu_operators"] = np.nan_to_num(piece["cpu_operators"]).astype(np.int64)
    return piece, np.flatnonzero(kept)


def _texts(table: Any, name: str) -> Any:
    texts = np.full(table.num_rows, None, dtype=object)
    if name in table.column_names:
        texts[:] = table[name].cast(pa.string()).to_pylist()
    return texts


def _numbers(table: Any, name: str) -> Any:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
