"""What a database holds of a study: one row a network, device, setting and metric."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from api.study.spec import Spec
from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.measurement import Mode
from perfsage.metrics import Metric

if TYPE_CHECKING:
    import pandas as pd

    from dataset.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One headline value, or why there is none; `macs` and `value` are those of the whole batch."""

    network: str
    family: str
    dtype: str
    batch: int
    threads: int
    delegate: str
    device: str
    kind: str
    metric: Metric
    value: float | None
    unavailable: str | None
    mode: Mode
    macs: int | None
    number: int
    """The network's number in the database."""
    noise: float | None = None
    """How far repetitions lie apart, as a share of the value; None where it was not repeated."""
    low: float | None = None
    high: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The network as figures name it."""
        return f"{self.network} {self.dtype}"

    @property
    def basic(self) -> bool:
        """Whether this is the setting that every device has: one input, one thread, the usual kernels."""
        imported = self.mode is Mode.IMPORTED
        return imported or (self.batch == 1 and self.threads == 1 and self.delegate == "default")


@dataclass(frozen=True, slots=True)
class StudyRows:
    """A study as it is stored."""

    spec: Spec
    devices: tuple[Device, ...]
    rows: tuple[Row, ...]

    def of(self, metric: Metric, *, basic: bool = True) -> list[Row]:
        """Return the rows of a metric that have a value."""
        return [
            row
            for row in self.rows
            if row.metric is metric and row.value is not None and (row.basic or not basic)
        ]

    @property
    def networks(self) -> list[str]:
        """The networks that have rows, in the study's order."""
        present = dict.fromkeys(row.network for row in self.rows)
        ordered = [name for name in self.spec.networks if name in present]
        return ordered + [name for name in present if name not in ordered]


def read_rows(spec: Spec, store: Store) -> StudyRows:
    """Return the study's rows; InvalidInputError where the database has none."""
    wanted = {name: place for place, name in enumerate(spec.devices)}
    devices = sorted((d for d in store.devices() if d.name in wanted), key=lambda d: wanted[d.name])
    expected = {subject.network for subject in spec.subjects}
    rows = tuple(row for device in devices for row in _device_rows(spec, expected, store, device))
    if not rows:
        raise InvalidInputError(
            f"the database has nothing of the study {spec.name!r}",
            where=store.url,
            hint="Run it first: perfsage study run STUDY --db DATABASE.",
        )
    seen = {row.device for row in rows}
    return StudyRows(spec, tuple(device for device in devices if device.name in seen), rows)


def _device_rows(spec: Spec, expected: set[str], store: Store, device: Device) -> Iterator[Row]:
    frame = store.frame(device=device.name).sort_values("measured_at", kind="stable")
    definitions = {metric.value: text for metric, text in device.metrics.items()}
    latest: dict[tuple[str, ...], Row] = {}
    for record in _records(frame):
        definition = definitions.get(record["metric"])
        if definition is not None and record["definition"] != definition:
            continue
        row = _imported(record, device) if device.source else _own(spec, record, device)
        if row is not None and row.network in expected:
            setting = () if device.source else (str(row.batch), str(row.threads), row.delegate)
            key = (row.label, row.metric.value, *setting)
            latest[key] = _better(latest.get(key), row)
    return iter(latest.values())


def _better(old: Row | None, new: Row) -> Row:
    """Keep the later row; of imported ones, which differ in cores and clocks, the lowest."""
    if old is None or new.mode is not Mode.IMPORTED or old.value is None:
        return new
    return new if new.value is not None and new.value < old.value else old


def _records(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
    names = ["network", "family", "dtype", "macs", "metric", "definition", "value", "unavailable", "mode"]
    records: list[dict[str, Any]] = frame[[*names, "conditions"]].astype(object).to_dict("records")
    return records


def _own(spec: Spec, record: Mapping[str, Any], device: Device) -> Row | None:
    conditions = _conditions(str(record["conditions"]))
    if conditions.get("study") != spec.name:
        return None
    network, _, batch, threads, delegate = str(conditions["study_cell"]).rsplit("|", 4)
    common = _common(record, device, network)
    return Row(
        **common, batch=int(batch), threads=int(threads), delegate=delegate, family=_family(network),
        noise=_number(conditions.get("visit_cv")), low=_number(conditions.get("low")),
        high=_number(conditions.get("high")), conditions=conditions,
    )  # fmt: skip


def _imported(record: Mapping[str, Any], device: Device) -> Row | None:
    network = _aliases().get(str(record["family"]))
    if network is None:
        return None
    conditions = _conditions(str(record["conditions"]))
    return Row(
        **_common(record, device, network), batch=1, threads=int(conditions.get("threads", 1)),
        delegate=str(conditions.get("runtime", "")), family=_family(network), conditions=conditions,
    )  # fmt: skip


def _common(record: Mapping[str, Any], device: Device, network: str) -> dict[str, Any]:
    reason = record["unavailable"]
    return {
        "network": network,
        "dtype": str(record["dtype"]),
        "device": device.name,
        "kind": device.kind,
        "metric": Metric(str(record["metric"])),
        "value": _number(record["value"]),
        "unavailable": reason if isinstance(reason, str) else None,
        "mode": Mode(str(record["mode"])),
        "macs": int(record["macs"]) if _number(record["macs"]) else None,
        "number": int(record["network"]),
    }


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


@cache
def _conditions(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text)
    return found


@cache
def _aliases() -> Mapping[str, str]:
    from dataset.zoo.registry import NETWORKS

    return {alias: name for name, network in NETWORKS.items() for alias in network.also}


def _family(name: str) -> str:
    from dataset.zoo.registry import NETWORKS

    return NETWORKS[name].family if name in NETWORKS else ""
