"""Read the dataset: as records, as pandas frames, and as counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dataset.builder import Dtype
from dataset.encoding import unpack_operators
from dataset.extras import sa
from dataset.records import Network
from dataset.schema import devices, measurements, networks, operator_measurements, quantities, reasons, runs
from dataset.spaces import get_space
from perfsage.device import Device
from perfsage.errors import DatasetError
from perfsage.graph import read_graph
from perfsage.metrics import Metric

if TYPE_CHECKING:
    import pandas as pd

NETWORK_COLUMNS = (
    "graph_id", "model_id", "space", "seed", "dtype", "family", "operators", "macs", "file_bytes",
)  # fmt: skip
RUN_COLUMNS = ("device", "tool", "tool_version", "mode", "conditions")
QUANTITY_COLUMNS = ("metric", "definition", "statistic")


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of what a dataset holds; `failures` maps (device, reason) to a number of measurements."""

    networks: int
    structures: int
    networks_by_space: Mapping[str, int]
    measurements: int
    unavailable: int
    operator_rows: int
    measurements_by_device: Mapping[str, int]
    failures: Mapping[tuple[str, str], int]


def done(
    connection: sa.Connection, device: str, space: str | None, dtype: str | None
) -> set[tuple[str, int, str]]:
    """Return (space, seed, dtype) of every network with a measurement of `device`."""
    # Nested, not joined: SQLite would try every run of the device for every network.
    ran = sa.select(runs.c.id).join(devices).where(devices.c.name == device)
    measured = sa.select(measurements.c.network_id).where(measurements.c.run_id.in_(ran))
    query = sa.select(networks.c.space, networks.c.seed, networks.c.dtype).where(
        networks.c.space.is_not(None), networks.c.id.in_(measured)
    )
    if space is not None:
        query = query.where(networks.c.space == space)
    if dtype is not None:
        query = query.where(networks.c.dtype == dtype)
    return {(row.space, row.seed, row.dtype) for row in connection.execute(query)}


def structures(connection: sa.Connection) -> Iterator[tuple[bytes, str, int, str]]:
    """Yield (graph id, space, seed, dtype) of every network with a seed."""
    c = networks.c
    query = sa.select(c.graph_id, c.space, c.seed, c.dtype).where(c.space.is_not(None)).order_by(c.id)
    for graph_id, space, seed, dtype in connection.execution_options(yield_per=10_000).execute(query):
        yield bytes(graph_id), space, seed, dtype


def read_devices(connection: sa.Connection) -> list[Device]:
    """Return all devices, ordered by name."""
    rows = connection.execute(sa.select(devices).order_by(devices.c.name))
    return [_device(row) for row in rows]


def _device(row: Any) -> Device:
    return Device(
        name=row.name,
        kind=row.kind,
        description=row.description,
        metrics={Metric(name): definition for name, definition in json.loads(row.metrics).items()},
        unavailable={Metric(name): reason for name, reason in json.loads(row.unavailable).items()},
        descriptors=json.loads(row.descriptors),
        tool=row.tool,
        tool_version=row.tool_version,
        source=row.source,
    )


def read_network(connection: sa.Connection, number: int) -> Network:
    """Return the network of that number; DatasetError where there is none."""
    row = connection.execute(sa.select(networks).where(networks.c.id == number)).mappings().one_or_none()
    if row is None:
        raise DatasetError(f"there is no network {number} in the dataset")
    values = {name: value for name, value in row.items() if name != "id"}
    values["model_id"], values["graph_id"] = bytes(row["model_id"]).hex(), bytes(row["graph_id"]).hex()
    return Network(**values)


def build_again(record: Network) -> bytes:
    """Return the file of a network that has a seed; DatasetError where it is not the recorded one."""
    assert record.space is not None and record.seed is not None
    data = get_space(record.space).build(record.seed, cast(Dtype, record.dtype)).data
    if read_graph(data).model_id != record.model_id:
        raise DatasetError(
            f"{record.space} {record.seed} {record.dtype} is not built as it was when it was recorded",
            hint="The dataset was made by another version of PerfSAGE; rebuild it with that one.",
        )
    return data


def network_frame(connection: sa.Connection) -> pd.DataFrame:
    """Return the networks, indexed by their number; `architecture` is JSON."""
    columns = [networks.c[name] for name in ("id", *NETWORK_COLUMNS, "architecture")]
    frame = _frame(connection, sa.select(*columns).order_by(networks.c.id)).set_index("id")
    for name in ("graph_id", "model_id"):
        frame[name] = [bytes(value).hex() for value in frame[name]]
    for name in ("space", "dtype", "family"):
        frame[name] = frame[name].astype("category")
    return frame.astype({"seed": "Int64", "macs": "Int64"})


def label_frame(connection: sa.Connection, device: str | None, metric: str | None) -> pd.DataFrame:
    """Return one row a measurement, joined with all that it refers to."""
    columns = ("value", "reason_id", "noise", "samples")
    labels = _numbered(connection, measurements, columns, device, metric)
    texts = dict(connection.execute(sa.select(reasons.c.id, reasons.c.text)).all())
    labels["unavailable"] = labels.pop("reason_id").map(texts).astype("category")
    labels = labels.astype({"value": "float64", "noise": "float64"})
    return _joined(connection, labels)


def operator_frame(connection: sa.Connection, device: str | None) -> pd.DataFrame:
    """Return one row an operator's measurement."""
    import pandas as pd

    packed = _numbered(connection, operator_measurements, ("operators",), device, None)
    texts = dict(connection.execute(sa.select(reasons.c.id, reasons.c.text)).all())
    rows = [
        (*keys, operator.subgraph, operator.index, value, None if reason is None else texts[reason])
        for *keys, blob in packed.itertuples(index=False)
        for operator, (value, reason) in unpack_operators(blob).items()
    ]
    names = [*packed.columns[:-1], "subgraph", "index", "value", "unavailable"]
    return _joined(connection, pd.DataFrame(rows, columns=names).astype({"value": "float64"}))


def _numbered(
    connection: sa.Connection, table: sa.Table, columns: Sequence[str], device: str | None, metric: str | None
) -> pd.DataFrame:
    """Return the rows of a table of measurements, still with numbers for what they refer to."""
    names = ("network_id", "run_id", "quantity_id", "measured_at", *columns)
    query = sa.select(*(table.c[name] for name in names))
    if device is not None:
        chosen = sa.select(runs.c.id).join(devices).where(devices.c.name == device)
        query = query.where(table.c.run_id.in_(chosen))
    if metric is not None:
        of_metric = sa.select(quantities.c.id).where(quantities.c.metric == metric)
        query = query.where(table.c.quantity_id.in_(of_metric))
    return _frame(connection, query.order_by(table.c.network_id, table.c.run_id, table.c.quantity_id))


def _joined(connection: sa.Connection, labels: pd.DataFrame) -> pd.DataFrame:
    """Replace numbers by what they stand for; repeated strings become categories."""
    import pandas as pd

    run_columns = [runs.c.id, devices.c.name.label("device"), *(runs.c[name] for name in RUN_COLUMNS[1:])]
    run_frame = _frame(connection, sa.select(*run_columns).join_from(runs, devices)).set_index("id")
    quantity_frame = _frame(connection, sa.select(quantities)).set_index("id")
    joined = labels.rename(columns={"network_id": "network"})
    for numbers, others, names in (
        (joined["network"], network_frame(connection), NETWORK_COLUMNS),
        (joined.pop("run_id"), run_frame, RUN_COLUMNS),
        (joined.pop("quantity_id"), quantity_frame, QUANTITY_COLUMNS),
    ):
        positions = others.index.get_indexer(numbers)
        for name in names:
            joined[name] = _take(others[name], positions)
    joined["measured_at"] = pd.to_datetime(joined["measured_at"], unit="s", utc=True)
    return joined


def _take(column: pd.Series[Any], positions: Any) -> Any:
    if column.dtype == object or str(column.dtype) in ("str", "string"):
        column = column.astype("category")
    return column.take(positions).array


def _frame(connection: sa.Connection, query: sa.Select[Any]) -> pd.DataFrame:
    import pandas as pd

    result = connection.execute(query)
    # Plain tuples: pandas would take a row's own attribute `dtype` for that of an array.
    return pd.DataFrame(list(map(tuple, result)), columns=list(result.keys()))


def read_stats(connection: sa.Connection) -> Stats:
    """Return the counts."""
    by_space = sa.select(sa.func.coalesce(networks.c.space, ""), sa.func.count()).group_by(networks.c.space)
    structures = sa.select(sa.func.count(sa.distinct(networks.c.graph_id)))
    rows = measurements.join(runs).join(devices)
    by_device = (
        sa.select(devices.c.name, sa.func.count(), sa.func.count(measurements.c.reason_id))
        .select_from(rows)
        .group_by(devices.c.name)
    )
    failures = (
        sa.select(devices.c.name, reasons.c.text, sa.func.count())
        .select_from(rows.join(reasons))
        .group_by(devices.c.name, reasons.c.text)
    )
    spaces: dict[str, int] = dict(connection.execute(by_space).all())
    devices_rows = connection.execute(by_device).all()
    return Stats(
        networks=sum(spaces.values()),
        structures=connection.execute(structures).scalar_one(),
        networks_by_space=spaces,
        measurements=sum(row[1] for row in devices_rows),
        unavailable=sum(row[2] for row in devices_rows),
        operator_rows=connection.execute(
            sa.select(sa.func.count()).select_from(operator_measurements)
        ).scalar_one(),
        measurements_by_device={row[0]: row[1] for row in devices_rows},
        failures={(row[0], row[1]): row[2] for row in connection.execute(failures)},
    )
