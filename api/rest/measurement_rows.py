"""Measurements between the wire and the database."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from api.rest.shelf import Shelf
from api.words import measurement_dict
from dataset.connect import reading
from dataset.encoding import unpack_samples
from dataset.schema import devices, measurements, networks, quantities, reasons, runs
from dataset.store import Store
from perfsage.device import Device
from perfsage.errors import InvalidInputError, PerfsageError, UnknownNameError
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric, parse_metric

_MAX_TEXT = 2_000
_MAX_SAMPLES = 10_000
_MEMBERS = {
    "model_id", "graph_id", "device", "metric", "definition", "value", "unit", "mode", "statistic", "samples",
    "tool", "tool_version", "conditions", "measured_at", "availability", "reason",
}  # fmt: skip
_DEVICE_MEMBERS = {
    "name", "kind", "description", "metrics", "unavailable", "descriptors", "tool", "tool_version", "source",
}  # fmt: skip


def add(store: Store, shelf: Shelf, value: Mapping[str, Any], max_rows: int) -> int:
    """Add a request's devices and measurements, and return how many measurements it had.

    InvalidInputError or UnknownNameError names the row that cannot be used; nothing is added then.
    """
    entries, declared = value.get("measurements"), value.get("devices") or []
    if set(value) - {"measurements", "devices"} or not isinstance(entries, list):
        raise InvalidInputError("the body has the members `measurements` and `devices`", where="body")
    if not 0 < len(entries) <= max_rows or not isinstance(declared, list) or len(declared) > 100:
        raise InvalidInputError(f"a request has 1 to {max_rows} measurements", where="measurements")
    new = [_located(_device, entry, f"devices[{row}]") for row, entry in enumerate(declared)]
    rows = [_located(_measurement, entry, f"measurements[{row}]") for row, entry in enumerate(entries)]
    known = {device.name for device in (*store.devices(), *new)}
    for row, measurement in enumerate(rows):
        if measurement.device not in known:
            raise UnknownNameError(
                f"the dataset knows no device {measurement.device!r}",
                where=f"measurements[{row}].device",
                hint="Describe it under `devices` in the same request.",
            )
        if shelf.get(measurement.model_id) is None:
            raise UnknownNameError(
                "there is no model with this sha256",
                where=f"measurements[{row}].model_id",
                hint=f"Upload it first: PUT /v1/models/{measurement.model_id}.",
            )
    for device in new:
        store.add_device(device)
    store.add_measurements(rows)
    return len(rows)


def _located(read: Any, entry: Any, where: str) -> Any:
    """Read one entry; an error names its place."""
    try:
        if not isinstance(entry, dict):
            raise InvalidInputError("an entry is an object")
        return read(entry)
    except PerfsageError as error:
        error.where = f"{where}{'.' + error.where if error.where else ''}"
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        detail = f"has no member {error}" if isinstance(error, KeyError) else f"cannot be read: {error}"
        raise InvalidInputError(f"an entry {detail}", where=where, hint="See /openapi.json.") from None


def _measurement(entry: Mapping[str, Any]) -> Measurement:
    _refuse_unknown(entry, _MEMBERS)
    metric = parse_metric(_text(entry, "metric"))
    if entry.get("unit", metric.unit) != metric.unit:
        raise InvalidInputError(f"the unit of {metric.value} is {metric.unit}", where="unit")
    mode = Mode(_text(entry, "mode"))
    if mode is Mode.PREDICTED:
        raise InvalidInputError("a prediction is no measurement", where="mode")
    model_id = _text(entry, "model_id")
    if not re.fullmatch("[0-9a-f]{64}", model_id):
        raise InvalidInputError("a model id is 64 hexadecimal digits in lower case", where="model_id")
    value = entry.get("value")
    return Measurement(
        model_id=model_id,
        graph_id="",
        device=_text(entry, "device"),
        metric=metric,
        definition=_text(entry, "definition"),
        mode=mode,
        statistic=Statistic(_text(entry, "statistic")),
        tool=_text(entry, "tool"),
        tool_version=_text(entry, "tool_version", empty=True),
        value=None if value is None else _number(value),
        unavailable=None if value is not None else _text(entry, "reason"),
        samples=_samples(entry.get("samples") or []),
        conditions=_conditions(entry.get("conditions") or {}),
        measured_at=_time(entry.get("measured_at")),
    )


def _device(entry: Mapping[str, Any]) -> Device:
    _refuse_unknown(entry, _DEVICE_MEMBERS)
    given = {name: entry.get(name) or {} for name in ("metrics", "unavailable", "descriptors")}
    return Device(
        name=_text(entry, "name"),
        kind=_text(entry, "kind"),
        description=_text(entry, "description", empty=True),
        metrics={parse_metric(name): _definition(text) for name, text in given["metrics"].items()},
        unavailable={parse_metric(name): str(text) for name, text in given["unavailable"].items()},
        descriptors={str(name): _number(number) for name, number in given["descriptors"].items()},
        tool=_text(entry, "tool", empty=True, missing=True),
        tool_version=_text(entry, "tool_version", empty=True, missing=True),
        source=_text(entry, "source", empty=True, missing=True),
    )


def _definition(value: Any) -> str:
    """Accept a definition as it is listed (`{"definition", "unit"}`) or on its own."""
    return str(value["definition"] if isinstance(value, dict) else value)


def _refuse_unknown(entry: Mapping[str, Any], members: set[str]) -> None:
    if unknown := sorted(map(str, set(entry) - members)):
        raise InvalidInputError(f"there is no member {unknown[0]!r}", hint="See /openapi.json.")


def _text(entry: Mapping[str, Any], member: str, *, empty: bool = False, missing: bool = False) -> str:
    value = entry.get(member, "") if missing else entry[member]
    if not isinstance(value, str) or len(value) > _MAX_TEXT or "\0" in value or not (value or empty):
        raise InvalidInputError(f"`{member}` is a text of 1 to {_MAX_TEXT} characters", where=member)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError("a value is a number")
    return float(value)


def _samples(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) > _MAX_SAMPLES:
        raise InvalidInputError(f"`samples` are at most {_MAX_SAMPLES} numbers", where="samples")
    return tuple(_number(value) for value in values)


def _conditions(value: Any) -> dict[str, str | int | float | bool]:
    plain = isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(one, str | int | float) for name, one in value.items()
    )
    if not plain or len(json.dumps(value)) > _MAX_TEXT:
        raise InvalidInputError(
            "`conditions` are names with texts, numbers or truth values", where="conditions"
        )
    return dict(value)


def _time(value: Any) -> datetime:
    if value is None:
        return datetime.now(UTC)
    when = datetime.fromisoformat(value)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def read_page(
    store: Store,
    device: str | None,
    metric: Metric | None,
    model_id: str | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of whole-model measurements and the next one's cursor; InvalidInputError for a cursor."""
    m = measurements.c
    place = (m.network_id, m.run_id, m.quantity_id)
    joined = measurements.join(networks).join(runs).join(devices).join(quantities).outerjoin(reasons)
    query = sa.select(*_columns()).select_from(joined).order_by(*place).limit(limit + 1)
    if device is not None:
        query = query.where(devices.c.name == device)
    if metric is not None:
        query = query.where(quantities.c.metric == metric.value)
    if model_id is not None:
        query = query.where(networks.c.model_id == bytes.fromhex(model_id))
    if cursor is not None:
        query = query.where(sa.tuple_(*place) > sa.tuple_(*_place(cursor)))
    with reading(store.engine) as connection:
        rows = connection.execute(query).all()
    following = _cursor(rows[limit - 1]) if len(rows) > limit else None
    return [_row(row) for row in rows[:limit]], following


def _columns() -> list[sa.ColumnElement[Any]]:
    m, r, q = measurements.c, runs.c, quantities.c
    return [
        m.network_id, m.run_id, m.quantity_id, m.value, m.samples, m.measured_at, networks.c.model_id,
        networks.c.graph_id, devices.c.name.label("device"), r.tool, r.tool_version, r.mode, r.conditions,
        q.metric, q.definition, q.statistic, reasons.c.text.label("reason"),
    ]  # fmt: skip


def _row(row: Any) -> dict[str, Any]:
    return measurement_dict(
        Measurement(
            model_id=bytes(row.model_id).hex(),
            graph_id=bytes(row.graph_id).hex(),
            device=row.device,
            metric=Metric(row.metric),
            definition=row.definition,
            mode=Mode(row.mode),
            statistic=Statistic(row.statistic),
            tool=row.tool,
            tool_version=row.tool_version,
            value=row.value,
            unavailable=row.reason,
            samples=unpack_samples(row.samples),
            conditions=json.loads(row.conditions),
            measured_at=datetime.fromtimestamp(row.measured_at, UTC),
        )
    )


def _cursor(row: Any) -> str:
    text = f"{row.network_id}.{row.run_id}.{row.quantity_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, ...]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        if re.fullmatch(r"\d{1,18}\.\d{1,18}\.\d{1,18}", text, re.ASCII):
            return tuple(map(int, text.split(".")))
    except ValueError:
        pass
    raise InvalidInputError(
        "the cursor is not one of this service", where="cursor", hint="Begin without one."
    )
