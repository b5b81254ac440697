"""Write a dataset as Parquet or CSV files that pandas, and `import_dataset`, can read.

Rows are streamed: a million measurements take seconds and a few hundred MB at most.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataset.connect import reading
from dataset.encoding import unpack_operators, unpack_samples
from dataset.extras import sa
from dataset.schema import devices, measurements, networks, operator_measurements, quantities, reasons, runs
from dataset.store import Store
from dataset.tables import FORMAT, KINDS, MANIFEST, SCHEMAS, VERSION, pa, plain
from perfsage.errors import DatasetError, InvalidInputError

_BATCH_ROWS = 65_536
_RUN_COLUMNS = ("device", "tool", "tool_version", "mode", "conditions")
_QUANTITY_COLUMNS = ("metric", "definition", "statistic")


def export_dataset(store: Store, directory: str | Path, *, kind: str = "parquet") -> dict[str, int]:
    """Write the whole dataset into `directory`, and return the number of rows of each file.

    `kind` is parquet or csv. An export that was there before is replaced.
    """
    if kind not in KINDS:
        raise InvalidInputError(f"{kind!r} is not a kind of export", hint="Use parquet, csv or labels.")
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        with reading(store.engine) as connection:
            rows = {
                name: _write(folder / f"{name}.{kind}", SCHEMAS[name], batches)
                for name, batches in _tables(connection)
            }
        manifest = {"format": FORMAT, "version": VERSION, "kind": kind, "rows": rows}
        manifest["created_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"the export cannot be written: {error.strerror}",
            where=str(folder),
            hint="Choose another folder.",
        ) from error
    return rows


def _tables(connection: sa.Connection) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
    numbers = connection.execute(sa.select(networks.c.id).order_by(networks.c.id)).scalars().all()
    coder = _Coder(connection, {number: row for row, number in enumerate(numbers)})
    yield "networks", _networks(connection)
    yield "devices", _devices(connection)
    yield "measurements", coder.measurements(connection)
    yield "operator_measurements", coder.operators(connection)


def _write(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    with _writer(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch if path.suffix == ".parquet" else batch.cast(plain(schema)))
            rows += batch.num_rows
    return rows


def _writer(path: Path, schema: pa.Schema) -> AbstractContextManager[Any]:
    if path.suffix == ".parquet":
        from pyarrow.parquet import ParquetWriter

        writer: AbstractContextManager[Any] = ParquetWriter(path, schema, compression="zstd")
    else:
        from pyarrow.csv import CSVWriter

        writer = CSVWriter(path, plain(schema))
    return writer


def _networks(connection: sa.Connection) -> Iterator[pa.RecordBatch]:
    schema = SCHEMAS["networks"]
    query = sa.select(*(networks.c[name] for name in schema.names)).order_by(networks.c.id)
    for columns in _columns(connection, query):
        values = dict(zip(schema.names, columns, strict=True))
        for name in ("graph_id", "model_id"):
            values[name] = [bytes(value).hex() for value in values[name]]
        values["structure"] = [
            None if value is None else base64.b64encode(value).decode() for value in values["structure"]
        ]
        yield pa.RecordBatch.from_pydict(values, schema)


def _devices(connection: sa.Connection) -> Iterator[pa.RecordBatch]:
    schema = SCHEMAS["devices"]
    query = sa.select(*(devices.c[name] for name in schema.names)).order_by(devices.c.name)
    for columns in _columns(connection, query):
        yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=schema)


def _columns(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[list[Sequence[Any]]]:
    """Yield the query's result in batches, column by column."""
    result = connection.execution_options(yield_per=_BATCH_ROWS).execute(query)
    for rows in result.partitions():
        yield list(zip(*rows, strict=True))


class _Coder:
    """Turns the numbers of a measurement's row into dictionary-coded columns."""

    def __init__(self, connection: sa.Connection, network_rows: dict[int, int]) -> None:
        self._network_rows = network_rows
        run_columns = [devices.c.name, *(runs.c[name] for name in _RUN_COLUMNS[1:])]
        run_query = sa.select(runs.c.id, *run_columns).join_from(runs, devices)
        self._runs = _Dictionary(_RUN_COLUMNS, connection.execute(run_query).all())
        self._quantities = _Dictionary(_QUANTITY_COLUMNS, connection.execute(sa.select(quantities)).all())
        reason_query = sa.select(reasons.c.id, reasons.c.text)
        self._reasons = _Dictionary(("unavailable",), connection.execute(reason_query).all())

    def measurements(self, connection: sa.Connection) -> Iterator[pa.RecordBatch]:
        """Yield the rows of measurements."""
        c = measurements.c
        query = sa.select(
            c.network_id, c.run_id, c.quantity_id, c.measured_at, c.value, c.reason_id, c.samples
        ).order_by(c.network_id, c.run_id, c.quantity_id)
        for *label, samples in _columns(connection, query):
            texts = [None if data is None else _samples_text(data) for data in samples]
            yield self._batch("measurements", label, [pa.array(texts, pa.string())])

    def operators(self, connection: sa.Connection) -> Iterator[pa.RecordBatch]:
        """Yield the rows of operators' measurements."""
        c = operator_measurements.c
        query = sa.select(c.network_id, c.run_id, c.quantity_id, c.measured_at, c.operators).order_by(
            c.network_id, c.run_id, c.quantity_id
        )
        for columns in _columns(connection, query):
            rows = [
                (*keys, value, reason, operator.subgraph, operator.index)
                for *keys, blob in zip(*columns, strict=True)
                for operator, (value, reason) in unpack_operators(blob).items()
            ]
            label: list[Any]
            *label, subgraphs, indices = zip(*rows, strict=True)
            places = [pa.array(subgraphs, pa.int32()), pa.array(indices, pa.int32())]
            yield self._batch("operator_measurements", label, places)

    def _batch(self, table: str, label: list[Any], rest: list[pa.Array]) -> pa.RecordBatch:
        network, run, quantity, measured_at, values, reason = label
        arrays = [
            pa.array([self._network_rows[number] for number in network], pa.int32()),
            *self._runs.encode(run),
            *self._quantities.encode(quantity),
            pa.array(measured_at, pa.int64()),
            pa.array(values, pa.float64()),
            *self._reasons.encode(reason),
            *rest,
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMAS[table])


class _Dictionary:
    """One table of repeated values: numbers to dictionary-coded columns."""

    def __init__(self, names: Sequence[str], rows: Sequence[Any]) -> None:
        self._positions = {row[0]: position for position, row in enumerate(rows)}
        columns = list(zip(*rows, strict=True))[1:] if rows else [()] * len(names)
        self._values: list[pa.Array] = []
        self._indices: list[list[int]] = []
        for column in columns:
            distinct = {value: index for index, value in enumerate(dict.fromkeys(column))}
            self._values.append(pa.array(list(distinct), pa.string()))
            self._indices.append([distinct[value] for value in column])

    def encode(self, numbers: Sequence[int | None]) -> list[pa.DictionaryArray]:
        """Return one column for each name."""
        positions = [None if number is None else self._positions[number] for number in numbers]
        taken = pa.array(positions, pa.int32())
        return [
            pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()).take(taken), values)
            for indices, values in zip(self._indices, self._values, strict=True)
        ]


def _samples_text(data: bytes) -> str:
    """Return float32 samples in the shortest digits that read back as the same float32."""
    import numpy as np

    return " ".join(str(value) for value in np.asarray(unpack_samples(data), np.float32).tolist())
