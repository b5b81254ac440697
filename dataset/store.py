"""The dataset: networks and their measurements in SQLite or PostgreSQL.

with Store.open("dataset.db") as store:
    store.add_device(profiler.describe())
    store.add_networks([network])
    store.add_measurements(outcome.measurements)
    labels = store.frame(device="tflm")
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dataset import migrations, reading
from dataset.connect import insert_missing, make_engine, parse_url, require_file
from dataset.connect import reading as open_reading
from dataset.connect import writing as open_writing
from dataset.extras import sa
from dataset.reading import Stats
from dataset.records import Network
from dataset.schema import devices
from dataset.writing import Writer, device_row, insert_networks
from perfsage.device import Device
from perfsage.errors import DatasetError
from perfsage.measurement import Measurement

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, int, str]
"""(space, seed, dtype): what identifies a network that can be built again."""


class Store:
    """An open dataset. Every method that adds is atomic, and adding again what is there adds nothing."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writer = Writer()

    @classmethod
    def open(cls, target: str | os.PathLike[str], *, create: bool = True) -> Self:
        """Open the dataset at a path or URL, creating its tables where `create` allows it.

        SchemaVersionError for a dataset of another version, DatasetError for one that cannot be opened.
        """
        url = parse_url(target)
        if not create:
            require_file(url)
        engine = make_engine(url)
        try:
            migrations.ensure(engine, create=create)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @staticmethod
    def upgrade(target: str | os.PathLike[str]) -> None:
        """Bring the dataset at a path or URL to this version's schema."""
        url = parse_url(target)
        require_file(url)
        engine = make_engine(url)
        try:
            migrations.upgrade(engine)
        finally:
            engine.dispose()

    @property
    def url(self) -> str:
        """The database's URL, without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine, for queries that the store does not offer."""
        return self._engine

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_device(self, device: Device, *, licence: str = "") -> None:
        """Add a device, or nothing where one of that name is known."""
        with open_writing(self._engine) as connection:
            insert_missing(connection, devices, [device_row(device, licence)])

    def add_networks(self, networks: Sequence[Network]) -> None:
        """Add networks that are not known by model id, or by space, seed and dtype."""
        with open_writing(self._engine) as connection:
            insert_networks(connection, networks)

    def add_measurements(self, measurements: Sequence[Measurement]) -> None:
        """Add measurements of known networks on known devices.

        All measurements of a network's operators by one run must come in one call.
        """
        self.add_outcomes([], measurements)

    def add_outcomes(self, networks: Sequence[Network], measurements: Sequence[Measurement]) -> None:
        """Add networks and their measurements, all or nothing."""
        try:
            with open_writing(self._engine) as connection:
                insert_networks(connection, networks)
                self._writer.insert(connection, measurements)
        except BaseException:
            self._writer.forget()
            raise

    def done(self, device: str, *, space: str | None = None, dtype: str | None = None) -> set[Key]:
        """Return the networks that `device` has measured, or failed to measure for a recorded reason."""
        with open_reading(self._engine) as connection:
            return reading.done(connection, device, space, dtype)

    def structures(self) -> Iterator[tuple[bytes, str, int, str]]:
        """Yield graph id, space, seed and dtype of every network that has a seed."""
        with open_reading(self._engine) as connection:
            yield from reading.structures(connection)

    def devices(self) -> list[Device]:
        """Return all devices, ordered by name."""
        with open_reading(self._engine) as connection:
            return reading.read_devices(connection)

    def networks(self) -> pd.DataFrame:
        """Return one row a network, indexed by its number in this database."""
        with open_reading(self._engine) as connection:
            return reading.network_frame(connection)

    def frame(self, *, device: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Return one row a measurement with its network, device, run and conditions.

        Unavailable values are NaN and have their reason in the column `unavailable`.
        """
        with open_reading(self._engine) as connection:
            return reading.label_frame(connection, device, metric)

    def operator_frame(self, *, device: str | None = None) -> pd.DataFrame:
        """Return one row an operator's measurement, with its subgraph and index."""
        with open_reading(self._engine) as connection:
            return reading.operator_frame(connection, device)

    def stats(self) -> Stats:
        """Return how many networks, devices and measurements there are, and failures by reason."""
        with open_reading(self._engine) as connection:
            return reading.read_stats(connection)

    def rebuild(self, network: int) -> bytes:
        """Return the .tflite file of a network: built from its seed, or as stored, without weights."""
        with open_reading(self._engine) as connection:
            record = reading.read_network(connection, network)
        if record.space is not None and record.seed is not None:
            return reading.build_again(record)
        if record.structure is None:
            raise DatasetError(f"network {network} was stored without its structure")
        return zlib.decompress(record.structure)
