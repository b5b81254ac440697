"""Read an exported dataset back: all of it or, where anything is wrong, nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from dataset.connect import insert_missing, writing
from dataset.extras import sa
from dataset.records import Network
from dataset.schema import devices
from dataset.store import Store
from dataset.tables import FORMAT, KINDS, MANIFEST, SCHEMAS, VERSION, pa, plain
from dataset.writing import Writer, insert_networks
from perfsage.errors import InvalidInputError, PerfsageError
from perfsage.measurement import Measurement, Mode, OperatorRef, Statistic
from perfsage.metrics import parse_metric

_BATCH_ROWS = 20_000
_MANIFEST_LIMIT_BYTES = 1 << 20
Row = dict[str, Any]


def import_dataset(store: Store, directory: str | Path) -> dict[str, int]:
    """Add everything that `directory` holds and the store has not, in one transaction.

    Returns the rows read from each file. InvalidInputError names the file, and the column or row, that is
    wrong; then nothing is added. Importing again adds nothing.
    """
    folder = Path(directory)
    kind, promised = _manifest(folder)
    tables = {name: _Table(folder / f"{name}.{kind}", name) for name in SCHEMAS}
    with writing(store.engine) as connection:
        _import_networks_and_devices(connection, tables)
        models = [(row["model_id"], row["graph_id"]) for row in tables["networks"].rows()]
        writer = Writer()
        for name in ("measurements", "operator_measurements"):
            _import_measurements(connection, writer, tables[name], models)
        for name, table in tables.items():
            if table.read != promised[name]:
                raise InvalidInputError(
                    f"the file has {table.read} rows, and the manifest promises {promised[name]}",
                    where=str(table.path),
                    hint="The export is incomplete: copy or export it again.",
                )
    return promised


def _import_networks_and_devices(connection: sa.Connection, tables: dict[str, _Table]) -> None:
    found = [tables["devices"].convert(row, _device) for row in tables["devices"].rows()]
    insert_missing(connection, devices, sorted(found, key=lambda row: str(row["name"])))
    records = (tables["networks"].convert(row, _network) for row in tables["networks"].rows())
    while batch := list(islice(records, _BATCH_ROWS)):
        insert_networks(connection, batch)


def _import_measurements(
    connection: sa.Connection, writer: Writer, table: _Table, models: Sequence[tuple[str, str]]
) -> None:
    """Insert in batches that never part the operators of one measurement."""
    batch: list[Measurement] = []
    network = -1
    for row in table.rows():
        if len(batch) >= _BATCH_ROWS and row["network"] != network:
            writer.insert(connection, batch)
            batch = []
        network = row["network"]
        batch.append(table.convert(row, lambda row: _measurement(row, models)))
    writer.insert(connection, batch)


def _manifest(folder: Path) -> tuple[str, dict[str, int]]:
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            manifest = json.loads(file.read(_MANIFEST_LIMIT_BYTES))
    except OSError as error:
        hint = "An export is a folder that perfsage dataset export wrote."
        raise InvalidInputError(
            f"there is no export: {error.strerror}", where=str(path), hint=hint
        ) from error
    except ValueError as error:
        raise InvalidInputError(f"the manifest is not JSON: {error}", where=str(path)) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InvalidInputError("this is not an exported dataset", where=str(path))
    if manifest.get("version") != VERSION:
        raise InvalidInputError(
            f"the export has version {manifest.get('version')}, and this PerfSAGE reads {VERSION}",
            where=str(path),
            hint="Export it again with this version of PerfSAGE.",
        )
    kind, rows = manifest.get("kind"), manifest.get("rows")
    if kind not in KINDS or not isinstance(rows, dict) or set(rows) != set(SCHEMAS):
        raise InvalidInputError("the manifest does not name the export's files", where=str(path))
    return kind, rows


class _Table:
    """One file of an export; `read` counts the rows of the last complete reading."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.read = 0
        self._schema = SCHEMAS[name]

    def rows(self) -> Iterator[Row]:
        """Yield the rows; InvalidInputError where the file or its columns are not as they should be."""
        self.read = 0
        try:
            for batch in self._batches():
                yield from batch.to_pylist()
                self.read += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self._wrong(f"the file cannot be read: {what}") from error

    def convert(self, row: Row, make: Any) -> Any:
        """Return `make(row)`; InvalidInputError names the row that cannot be converted."""
        try:
            return make(row)
        except (ValueError, IndexError, TypeError, OverflowError, PerfsageError) as error:
            raise self._wrong(f"a row of the file is wrong: {error}; it reads {str(row)[:200]}") from error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self.path.suffix == ".parquet":
            from pyarrow.parquet import ParquetFile

            with ParquetFile(self.path) as file:
                self._check(file.schema_arrow.names)
                for batch in file.iter_batches(_BATCH_ROWS, columns=self._schema.names):
                    yield self._complete(batch.cast(plain(self._schema).remove_metadata()))
        else:
            from pyarrow import csv

            options = csv.ConvertOptions(
                column_types=plain(self._schema), strings_can_be_null=True, quoted_strings_can_be_null=False,
                null_values=[""],
            )  # fmt: skip
            with csv.open_csv(self.path, convert_options=options) as reader:
                self._check(reader.schema.names)
                for batch in reader:
                    yield self._complete(batch.select(self._schema.names))

    def _check(self, names: Sequence[str]) -> None:
        missing = [name for name in self._schema.names if name not in names]
        unknown = [name for name in names if name not in self._schema.names]
        if missing or unknown:
            raise self._wrong(f"columns are missing ({', '.join(missing)}) or unknown ({', '.join(unknown)})")

    def _complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        for field in self._schema:
            if not field.nullable and batch.column(field.name).null_count:
                raise self._wrong(f"the column {field.name!r} has empty values")
        return batch

    def _wrong(self, what: str) -> InvalidInputError:
        return InvalidInputError(what, where=str(self.path), hint="Nothing was imported.")


def _device(row: Row) -> Row:
    for name in ("metrics", "unavailable", "descriptors"):
        if not isinstance(json.loads(row[name]), dict):
            raise ValueError(f"{name} is not a JSON object")
    for metric in (*json.loads(row["metrics"]), *json.loads(row["unavailable"])):
        parse_metric(metric)
    return row


def _network(row: Row) -> Network:
    values = dict(row)
    for name in ("graph_id", "model_id"):
        if len(bytes.fromhex(values[name])) != 32:
            raise ValueError(f"{name} is not a sha256")
    if values["structure"] is not None:
        try:
            values["structure"] = base64.b64decode(values["structure"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"structure is not base64: {error}") from error
    return Network(**values)


def _measurement(row: Row, models: Sequence[tuple[str, str]]) -> Measurement:
    if not 0 <= row["network"] < len(models):
        raise ValueError(f"there is no network {row['network']}")
    model_id, graph_id = models[row["network"]]
    conditions = json.loads(row["conditions"])
    if not isinstance(conditions, dict):
        raise ValueError("conditions are not a JSON object")
    return Measurement(
        model_id=model_id,
        graph_id=graph_id,
        device=row["device"],
        metric=parse_metric(row["metric"]),
        definition=row["definition"],
        mode=Mode(row["mode"]),
        statistic=Statistic(row["statistic"]),
        tool=row["tool"],
        tool_version=row["tool_version"],
        value=row["value"],
        unavailable=row["unavailable"],
        samples=tuple(map(float, (row.get("samples") or "").split())),
        operator=OperatorRef(row["subgraph"], row["index"]) if "index" in row else None,
        conditions=conditions,
        measured_at=datetime.fromtimestamp(row["measured_at"], UTC),
    )
