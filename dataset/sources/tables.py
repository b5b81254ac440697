"""Read tables that people fetched: CSV or Parquet, with the columns that an importer needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset.sources.source import wrong
from perfsage.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

_LARGEST_TABLE_BYTES = 512 << 20


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Return the table of a .csv or .parquet file; InvalidInputError where a column is missing."""
    frame = _read(path)
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise wrong(f"the table has no column {', '.join(missing)}", path, "Is this the right file?")
    if frame.empty:
        raise wrong("the table has no rows", path)
    return frame


def _read(path: Path) -> pd.DataFrame:
    try:
        import pandas as pd
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError(error.name or "pandas", "dataset") from error

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if not path.is_file() or path.suffix not in readers:
        raise wrong("this is neither a .csv nor a .parquet file", path, "Is this the right file?")
    if path.stat().st_size > _LARGEST_TABLE_BYTES:
        raise wrong(f"the table is larger than {_LARGEST_TABLE_BYTES >> 20} MB", path)
    try:
        frame: pd.DataFrame = readers[path.suffix](path)
    except (ValueError, OSError, pa.ArrowException) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise wrong(f"the table cannot be read: {what}", path) from error
    return frame


def numbers(frame: pd.DataFrame, column: str, path: Path) -> list[float | None]:
    """Return a column of positive numbers, None where it is empty."""
    import pandas as pd

    try:
        values: list[Any] = pd.to_numeric(frame[column]).astype("float64").tolist()
    except (ValueError, TypeError) as error:
        raise wrong(f"column {column!r}: {error}", path) from error
    for row, value in enumerate(values, 1):
        if value == value and not 0 < value < float("inf"):
            raise wrong(f"column {column!r}, row {row}: {value!r} is no positive number", path)
    return [None if value != value else value for value in values]
