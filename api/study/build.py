"""The models of a study, built or read when they are needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from api.study.spec import Cell, Subject
from api.workflows.models import naming
from api.workflows.profile import record_of
from perfsage.graph import read_graph
from profilers.profiler import Model

if TYPE_CHECKING:
    from dataset.builder import Dtype
    from dataset.records import Network

_CHUNK_MODELS = 12
_CHUNK_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Built:
    """A cell with its model."""

    cell: Cell
    model: Model


def build_subject(subject: Subject) -> Model:
    """Return the model of a network; errors name the file that cannot be used."""
    if subject.path is None:
        from dataset.zoo import build_network

        data = build_network(subject.network, cast("Dtype", subject.dtype), batch=subject.batch)
        return Model(data=data, graph=read_graph(data))
    with naming(str(subject.path)):
        data = subject.path.read_bytes()
        return Model(data=data, graph=read_graph(data), path=subject.path)


def chunks(cells: Iterable[Cell]) -> Iterator[list[Built]]:
    """Yield cells with their models, bounded in number and bytes, so that a chunk is soon stored."""
    chunk: list[Built] = []
    for cell in cells:
        chunk.append(Built(cell, build_subject(cell.subject)))
        if len(chunk) >= _CHUNK_MODELS or sum(len(b.model.data) for b in chunk) >= _CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def network_record(built: Built) -> Network:
    """Return what the database keeps: the structure without weights, and what the study calls it."""
    subject = built.cell.subject
    record = record_of(built.model)
    described = {"network": subject.network, "batch": subject.batch}
    return replace(record, family=subject.network, architecture=json.dumps(described))
