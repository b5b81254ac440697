"""Turn measurements into rows: dictionary-coded, in an order that two writers share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataset.connect import insert_missing
from dataset.encoding import noise, pack_operators, pack_samples, unpack_samples
from dataset.extras import sa
from dataset.records import Network
from dataset.schema import devices, measurements, networks, operator_measurements, quantities, reasons, runs
from perfsage.device import Device
from perfsage.errors import DatasetError
from perfsage.measurement import Measurement, OperatorRef

_LOOKUP_BATCH = 500
"""Ids looked up in one query: SQLite once allowed only 999 parameters."""

RunKey = tuple[str, str, str, str, str]
QuantityKey = tuple[str, str, str]
RowKey = tuple[int, int, int]


@dataclass(slots=True)
class Codes:
    """The numbers by which a database knows runs, quantities and reasons; filled as they are met.

    They may outlive a batch that is rolled back only if their rows do: `Writer` reloads after a failure.
    """

    runs: dict[RunKey, int] = field(default_factory=dict)
    quantities: dict[QuantityKey, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)


def insert_networks(connection: sa.Connection, records: Iterable[Network]) -> None:
    """Insert the networks that are not known yet, ordered by model id."""
    rows = [
        {
            "model_id": bytes.fromhex(record.model_id),
            "graph_id": bytes.fromhex(record.graph_id),
            "space": record.space,
            "seed": record.seed,
            "dtype": record.dtype,
            "family": record.family,
            "architecture": record.architecture,
            "operators": record.operators,
            "macs": record.macs,
            "file_bytes": record.file_bytes,
            "structure": record.structure,
        }
        for record in sorted(records, key=lambda record: record.model_id)
    ]
    insert_missing(connection, networks, rows)


def device_row(device: Device, licence: str) -> dict[str, Any]:
    """Return a device as a row."""
    return {
        "name": device.name,
        "kind": device.kind,
        "description": device.description,
        "metrics": json.dumps(dict(device.metrics), sort_keys=True),
        "unavailable": json.dumps(dict(device.unavailable), sort_keys=True),
        "descriptors": json.dumps(dict(device.descriptors), sort_keys=True),
        "tool": device.tool,
        "tool_version": device.tool_version,
        "source": device.source,
        "licence": licence,
    }


def network_ids(connection: sa.Connection, model_ids: Iterable[str]) -> dict[str, int]:
    """Return the number of each network; DatasetError where one is not in the dataset."""
    wanted = sorted({bytes.fromhex(model_id) for model_id in model_ids})
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _LOOKUP_BATCH):
        part = wanted[start : start + _LOOKUP_BATCH]
        query = sa.select(networks.c.model_id, networks.c.id).where(networks.c.model_id.in_(part))
        found.update((bytes(model_id).hex(), number) for model_id, number in connection.execute(query))
    missing = next((model_id.hex() for model_id in wanted if model_id.hex() not in found), None)
    if missing is not None:
        raise DatasetError(
            f"the network with model id {missing} is not in the dataset",
            hint="Add networks before measurements. If its seed is there with another model id, that one "
            "was built by another version of PerfSAGE: use a new dataset.",
        )
    return found


_OPERATOR_COUNTS = ("cycles", "macs")
"""What differs between the operators of one run, and follows from their values, the clock and the graph.

Left out of the stored conditions: with it, every operator would be a run of its own, at 300 bytes each."""


class Writer:
    """Writes batches of measurements over one connection at a time."""

    def __init__(self) -> None:
        self._codes = Codes()

    def forget(self) -> None:
        """Drop remembered numbers, after a batch that was rolled back."""
        self._codes = Codes()

    def insert(self, connection: sa.Connection, batch: Sequence[Measurement]) -> None:
        """Insert the measurements that are not known yet."""
        ids = network_ids(connection, (measurement.model_id for measurement in batch))
        run_keys = [_run_key(measurement) for measurement in batch]
        self._learn(connection, batch, run_keys)
        whole: list[dict[str, Any]] = []
        parts: dict[RowKey, tuple[int, dict[OperatorRef, tuple[float | None, int | None]]]] = {}
        for measurement, run_key in zip(batch, run_keys, strict=True):
            key = (ids[measurement.model_id], self._codes.runs[run_key], self._quantity(measurement))
            reason = (
                self._codes.reasons[measurement.unavailable] if measurement.unavailable is not None else None
            )
            at = int(measurement.measured_at.timestamp())
            if measurement.operator is None:
                whole.append(_row(key, at, measurement, reason))
            else:
                parts.setdefault(key, (at, {}))[1][measurement.operator] = (measurement.value, reason)
        whole.sort(key=lambda row: (row["network_id"], row["run_id"], row["quantity_id"]))
        insert_missing(connection, measurements, whole)
        packed = [
            _key_columns(key, at) | {"operators": pack_operators(v)}
            for key, (at, v) in sorted(parts.items(), key=lambda item: item[0])
        ]
        insert_missing(connection, operator_measurements, packed)

    def _quantity(self, measurement: Measurement) -> int:
        return self._codes.quantities[
            measurement.metric.value, measurement.definition, measurement.statistic.value
        ]

    def _learn(
        self, connection: sa.Connection, batch: Sequence[Measurement], run_keys: Sequence[RunKey]
    ) -> None:
        """Make sure that every run, quantity and reason of the batch has its number."""
        new_runs = {
            key: int(measurement.measured_at.timestamp())
            for key, measurement in zip(run_keys, batch, strict=True)
            if key not in self._codes.runs
        }
        if new_runs:
            self._codes.runs |= _learn_runs(connection, new_runs)
        wanted = {(m.metric.value, m.definition, m.statistic.value) for m in batch}
        if new_quantities := sorted(wanted - self._codes.quantities.keys()):
            self._codes.quantities |= _learn_quantities(connection, new_quantities)
        texts = {m.unavailable for m in batch if m.unavailable is not None}
        if new_reasons := sorted(texts - self._codes.reasons.keys()):
            self._codes.reasons |= _learn_reasons(connection, new_reasons)


def _run_key(measurement: Measurement) -> RunKey:
    held = dict(measurement.conditions)
    if measurement.operator is not None:
        held = {name: value for name, value in held.items() if name not in _OPERATOR_COUNTS}
    conditions = json.dumps(held, sort_keys=True, separators=(",", ":"))
    return (
        measurement.device,
        measurement.tool,
        measurement.tool_version,
        measurement.mode.value,
        conditions,
    )


def _key_columns(key: RowKey, measured_at: int) -> dict[str, Any]:
    return {"network_id": key[0], "run_id": key[1], "quantity_id": key[2], "measured_at": measured_at}


def _row(key: RowKey, measured_at: int, measurement: Measurement, reason: int | None) -> dict[str, Any]:
    samples = pack_samples(measurement.samples)
    return _key_columns(key, measured_at) | {
        "value": measurement.value,
        "reason_id": reason,
        "noise": noise(unpack_samples(samples)),
        "samples": samples,
    }


def _learn_runs(connection: sa.Connection, new: dict[RunKey, int]) -> dict[RunKey, int]:
    numbers = dict(connection.execute(sa.select(devices.c.name, devices.c.id)).all())
    unknown = sorted({key[0] for key in new} - numbers.keys())
    if unknown:
        raise DatasetError(
            f"the device {unknown[0]!r} is not in the dataset", hint="Add the device before its measurements."
        )
    hashes = {hashlib.sha256("\0".join(key).encode()).digest(): key for key in new}
    rows = [
        {
            "device_id": numbers[key[0]],
            "tool": key[1],
            "tool_version": key[2],
            "mode": key[3],
            "conditions": key[4],
            "hash": digest,
            "started_at": new[key],
        }
        for digest, key in sorted(hashes.items())
    ]
    insert_missing(connection, runs, rows)
    return {hashes[digest]: number for digest, number in _numbers(connection, runs, hashes)}


def _learn_quantities(connection: sa.Connection, new: Sequence[QuantityKey]) -> dict[QuantityKey, int]:
    names = ("metric", "definition", "statistic")
    insert_missing(connection, quantities, [dict(zip(names, key, strict=True)) for key in new])
    c = quantities.c
    rows = connection.execute(sa.select(c.metric, c.definition, c.statistic, c.id)).all()
    return {(metric, definition, statistic): number for metric, definition, statistic, number in rows}


def _learn_reasons(connection: sa.Connection, new: Sequence[str]) -> dict[str, int]:
    hashes = {hashlib.sha256(text.encode()).digest(): text for text in new}
    rows = [{"hash": digest, "text": text} for digest, text in sorted(hashes.items())]
    insert_missing(connection, reasons, rows)
    return {hashes[digest]: number for digest, number in _numbers(connection, reasons, hashes)}


def _numbers(
    connection: sa.Connection, table: sa.Table, hashes: Iterable[bytes]
) -> Iterable[tuple[bytes, int]]:
    wanted = sorted(hashes)
    for start in range(0, len(wanted), _LOOKUP_BATCH):
        part = wanted[start : start + _LOOKUP_BATCH]
        query = sa.select(table.c.hash, table.c.id).where(table.c.hash.in_(part))
        yield from ((bytes(digest), number) for digest, number in connection.execute(query))
