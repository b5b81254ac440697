"""Uploaded models: their weightless structures, in memory and, where there is a database, in it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from api.rest.lru import Lru
from perfsage.errors import InvalidInputError
from perfsage.graph import Graph, strip_weights
from perfsage.graph.costs import graph_macs

if TYPE_CHECKING:
    from dataset.store import Store


class Shelf:
    """Keeps uploaded models by the sha256 of their file; what is in the database is never forgotten."""

    def __init__(self, budget_bytes: int, store: Store | None) -> None:
        self._memory: Lru[bytes] = Lru(budget_bytes, len)
        self._store = store

    def put(self, sha256: str, graph: Graph, data: bytes) -> bool:
        """Keep a model without its weights, and say whether it is new; InvalidInputError for another id."""
        if graph.model_id != sha256:
            raise InvalidInputError(
                "the model's sha256 is not the one in the path",
                where=graph.model_id,
                hint="The path names the sha256 of the .tflite file, also for a structure.",
            )
        new = self.get(sha256) is None
        structure = strip_weights(graph, compress=True) if graph.has_weights else data
        self._memory.put(sha256, structure)
        if new and self._store is not None:
            _record(self._store, graph, structure)
        return new

    def get(self, sha256: str) -> bytes | None:
        """Return a model's structure or file, None when there is none."""
        if (known := self._memory.get(sha256)) is not None:
            return known
        found = None if self._store is None else _stored(self._store, sha256)
        if found is not None:
            self._memory.put(sha256, found)
        return found


def _record(store: Store, graph: Graph, structure: bytes) -> None:
    from api.workflows.profile import element_type
    from dataset.records import Network

    macs, unknown = graph_macs(graph)
    record = Network.from_file(graph, structure, element_type(graph), None if unknown else macs)
    store.add_networks([record])


def _stored(store: Store, sha256: str) -> bytes | None:
    import sqlalchemy as sa

    from dataset.connect import reading
    from dataset.schema import networks

    query = sa.select(networks.c.id, networks.c.structure).where(networks.c.model_id == bytes.fromhex(sha256))
    with reading(store.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return store.rebuild(row.id) if row.structure is None else zlib.decompress(row.structure)
