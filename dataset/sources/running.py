"""Import a source into a store: all of it or, where anything is wrong, nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataset.connect import insert_missing, writing
from dataset.records import Network
from dataset.schema import devices
from dataset.sources.registry import get_importer
from dataset.sources.source import Found, Options, Source
from dataset.store import Store
from dataset.writing import Writer, device_row, insert_networks
from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.measurement import Measurement

_BATCH_NETWORKS = 500
Row = tuple[Network, tuple[Measurement, ...]]


@dataclass(slots=True)
class Imported:
    """What an import read; what was in the database before is not added again."""

    source: str
    licence: str
    devices: int = 0
    networks: int = 0
    measurements: int = 0
    total_networks: int = 0
    left_out: dict[str, int] = field(default_factory=dict)


def import_source(
    store: Store,
    name: str,
    path: Path,
    options: Options | None = None,
    on_progress: Callable[[Imported], None] = lambda _: None,
) -> Imported:
    """Add the measurements of the source `name` at `path` to a store, in one transaction.

    InvalidInputError for a source without a licence, or a file that is not as it should be: then nothing is
    added.
    """
    options = options or Options()
    importer = get_importer(name)
    licence = _licence(importer.source, options)
    if not path.exists():
        raise InvalidInputError(
            "there is no such file or folder",
            where=str(path),
            hint=f"Fetch it from {importer.source.url} first; docs/sources.md names the files.",
        )
    found = importer.read(path, options)
    done = Imported(name, licence, devices=len(found.devices), total_networks=found.total)
    rows = _read(found, done, on_progress)
    _insert(store, rows, [_described(d, importer.source, licence) for d in found.devices], licence)
    done.left_out = dict(found.left_out.most_common())
    return done


def _licence(source: Source, options: Options) -> str:
    licence = options.licence or source.licence
    if not licence:
        raise InvalidInputError(
            f"the source {source.name!r} states no licence",
            where="--licence",
            hint="Ask its owner, and give the licence under which you may use it with --licence.",
        )
    return licence


def _read(found: Found, done: Imported, on_progress: Callable[[Imported], None]) -> list[Row]:
    """Return all rows: thousands of networks take minutes, in which the database must not be locked."""
    rows = []
    for row in _marked(found.rows, {"source": done.source, "licence": done.licence}):
        rows.append(row)
        done.networks += 1
        done.measurements += len(row[1])
        on_progress(done)
    return rows


def _insert(store: Store, rows: Sequence[Row], described: Sequence[Device], licence: str) -> None:
    writer = Writer()
    with writing(store.engine) as connection:
        ordered = sorted(described, key=lambda device: device.name)
        insert_missing(connection, devices, [device_row(device, licence) for device in ordered])
        for start in range(0, len(rows), _BATCH_NETWORKS):
            batch = rows[start : start + _BATCH_NETWORKS]
            insert_networks(connection, [network for network, _ in batch])
            writer.insert(connection, [measurement for _, each in batch for measurement in each])


def _marked(rows: Iterator[Row], marks: dict[str, str]) -> Iterator[Row]:
    """Add source and licence to the conditions of every measurement, and so to every run."""
    for network, measurements in rows:
        yield network, tuple(replace(m, conditions={**m.conditions, **marks}) for m in measurements)


def _described(device: Device, source: Source, licence: str) -> Device:
    return replace(device, source=f"{source.title}, {source.url} ({licence})")
