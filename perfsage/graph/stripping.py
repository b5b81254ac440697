"""Copies a model without its weights."""

from __future__ import annotations

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph.copying import TableCopier
from perfsage.graph.graph import Graph
from perfsage.graph.operands import parameter_inputs
from perfsage.graph.reader import Source, read_graph
from perfsage.graph.structure import Header, pack
from perfsage.graph.weightless import STATISTICS_RECORD


def strip_weights(source: Source | Graph, *, compress: bool = False) -> bytes:
    """Return the weightless structure of a model, which `read_graph` reads like the model itself.

    It keeps operators, attributes, tensors, names, signatures, the small constants that are parameters,
    and the statistics of all constants, so the graph id, the model id and all features stay the same.
    Compression makes it a few times smaller and a little slower to read.
    """
    graph = source if isinstance(source, Graph) else read_graph(source)
    if not graph.has_weights:
        raise InvalidModelError("the graph has no weights to strip", hint="Keep the structure as it is.")
    flatbuffer = TableCopier(graph, _kept(graph)).model()
    sizes = np.array([len(graph.buffer(i)) for i in range(graph.buffers)], "<i8")
    records = _records(graph)
    header = Header(graph.model_id, graph.file_bytes, len(flatbuffer), len(sizes), len(records), compress)
    return pack(header, flatbuffer + sizes.tobytes() + records.tobytes())


def blank_weights(source: Source | Graph) -> bytes:
    """Return a weightless structure many times faster than `strip_weights`, to be sent rather than kept.

    It is the file itself with its weights overwritten by zeros, deflated: to read it, the whole file's size
    is inflated.
    """
    graph = source if isinstance(source, Graph) else read_graph(source)
    if not graph.has_weights:
        raise InvalidModelError("the graph has no weights to strip", hint="Keep the structure as it is.")
    blank, kept = bytearray(graph.root.buffer.data), _kept(graph)
    begin = memoryview(blank)
    for index in range(graph.buffers):
        start, count = graph.buffer_place(index)
        if index not in kept and count:
            begin[start : start + count] = bytes(count)
    sizes = np.array([graph.buffer_bytes(i) for i in range(graph.buffers)], "<i8")
    records = _records(graph)
    header = Header(graph.model_id, graph.file_bytes, len(blank), len(sizes), len(records), True)
    return pack(header, bytes(blank) + sizes.tobytes() + records.tobytes(), level=1)


def _kept(graph: Graph) -> frozenset[int]:
    """Return the buffers of the constants that are parameters."""
    kept: set[int] = set()
    for subgraph in graph.subgraphs:
        _, _, tensors = parameter_inputs(subgraph.columns)
        kept.update(subgraph.columns.tensor_buffer[tensors].tolist())
    return frozenset(kept)


def _records(graph: Graph) -> np.ndarray:
    parts, first = [], 0
    for subgraph in graph.subgraphs:
        statistics = subgraph.columns.tensor_statistics
        tensors = np.flatnonzero(statistics.known)
        records = np.zeros(len(tensors), STATISTICS_RECORD)
        records["tensor"] = tensors + first
        for name in statistics._fields[1:]:
            records[name] = getattr(statistics, name)[tensors]
        parts.append(records)
        first += len(statistics.known)
    return np.concatenate(parts)
