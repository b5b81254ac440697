"""The way in: bytes or a path, a .tflite file or a weightless structure -> Graph."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from perfsage.errors import InvalidInputError
from perfsage.graph.graph import Graph
from perfsage.graph.model import parse
from perfsage.graph.structure import MAGIC, parse_structure

MAP_FROM_BYTES = 64 << 20
"""Files from this size on are mapped instead of read."""

Source = bytes | bytearray | memoryview | str | os.PathLike[str]


def read_graph(source: Source) -> Graph:
    """Return the graph of a .tflite file or of a weightless structure, given its bytes or its path.

    Reads 100,000 operators, 250,000 tensors and 10,000 subgraphs at most. Memory is bounded by a small
    multiple of the file's size; files from 64 MiB on are mapped. Raises InvalidModelError, which names
    the byte, for anything that is not a complete and consistent model, also later, when a name or an
    attribute is looked at that cannot be read; InvalidInputError when there is no such file.

        graph = read_graph("model.tflite")
        for operator in graph.operators:
            print(operator.index, operator.type, operator.attributes)
    """
    data = open_source(source)
    return parse_structure(data) if data[: len(MAGIC)] == MAGIC else parse(data)


def open_source(source: Source) -> memoryview:
    """Return the bytes of `source` as a read-only view; large files are mapped."""
    if isinstance(source, bytes):
        return memoryview(source)
    if isinstance(source, bytearray | memoryview):
        return memoryview(bytes(source))
    path = Path(source)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < MAP_FROM_BYTES:
                return memoryview(file.read())
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            f"the file cannot be read: {reason}", where=str(path), hint="Check its path."
        ) from None
