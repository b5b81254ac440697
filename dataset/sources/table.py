"""Anybody's table of latencies: cells of NAS-Bench-201 or blocks of FBNet, one column a device."""

from __future__ import annotations

from pathlib import Path

from dataset.sources.columns import ColumnDevice, read_columns
from dataset.sources.source import Found, Options, Source, slug, wrong
from dataset.sources.tables import numbers, read_table

_SUFFIX = "_latency_ms"
_SPACES = {"cell": "nasbench201", "ops": "fbnet"}


class Table:
    """Reads a table whose owner the project does not know, so that its licence must be given."""

    source = Source(
        name="table",
        title="A table of latencies",
        url="where you found the table",
        licence=None,
        files=("a .csv or .parquet with a column cell or ops, and columns DEVICE_latency_ms",),
        note="Needs --licence.",
    )

    def read(self, path: Path, options: Options) -> Found:
        """Return one network a row."""
        frame = read_table(path, [])
        kind = next((column for column in _SPACES if column in frame.columns), None)
        if kind is None:
            raise wrong("the table has neither a column cell nor a column ops", path)
        columns = {
            slug(column.removesuffix(_SUFFIX)): (
                ColumnDevice(kind="board", description=column.removesuffix(_SUFFIX), runtime="not stated"),
                numbers(frame, column, path),
            )
            for column in frame.columns
            if column.endswith(_SUFFIX)
        }
        return read_columns(_SPACES[kind], [str(text) for text in frame[kind]], columns, path, path.name)


TABLE = Table()
