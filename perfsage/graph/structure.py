"""The weightless structure: a model without its weights, small enough to keep by the million.

Layout, little-endian: MAGIC (8 bytes), version and header length (2 x uint32), a JSON header, the body.
The body, deflated when the header says so, is a .tflite flatbuffer whose buffers hold nothing but small
parameters (shapes, axes, paddings), then the original size of each buffer (int64), then the statistics of
each constant tensor (STATISTICS_RECORDS). Version 1 is read as well.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph.graph import Graph
from perfsage.graph.model import MAX_BUFFERS, MAX_TENSORS, parse
from perfsage.graph.weightless import STATISTICS_RECORDS, Weightless, current_records

MAGIC = b"PSGRAPH\n"
VERSION = 2
MAX_BODY_BYTES = 256 << 20
MAX_HEADER_BYTES = 4096
_PREFIX = struct.Struct("<8sII")


@dataclass(frozen=True, slots=True)
class Header:
    """What a structure's header says; sizes are checked against what is there."""

    model_id: str
    file_bytes: int
    flatbuffer_bytes: int
    buffers: int
    records: int
    compressed: bool

    def body_bytes(self, version: int = VERSION) -> int:
        """Return the size of the body, not compressed."""
        statistics = STATISTICS_RECORDS[version].itemsize * self.records
        return self.flatbuffer_bytes + 8 * self.buffers + statistics

    def __post_init__(self) -> None:
        """Refuse values that no structure has."""
        counts = (self.file_bytes, self.flatbuffer_bytes, self.buffers, self.records)
        whole = all(type(count) is int and 0 <= count < 1 << 62 for count in counts)
        named = isinstance(self.model_id, str) and re.fullmatch("[0-9a-f]{64}", self.model_id)
        small = whole and self.buffers <= MAX_BUFFERS and self.records <= MAX_TENSORS
        if not (small and named and type(self.compressed) is bool and self.body_bytes() <= MAX_BODY_BYTES):
            raise _invalid("its header has impossible values")


def read_structure(data: bytes, *, max_body_bytes: int = MAX_BODY_BYTES) -> Graph:
    """Return the graph of a weightless structure; InvalidModelError when it is not one.

    A compressed one is not inflated beyond `max_body_bytes`.
    """
    return parse_structure(memoryview(data), max_body_bytes)


def parse_structure(data: memoryview, max_body_bytes: int = MAX_BODY_BYTES) -> Graph:
    """Return the graph of a weightless structure; only its parameters and statistics have data."""
    if len(data) < _PREFIX.size or data[: len(MAGIC)] != MAGIC:
        raise _invalid("it does not begin as one")
    _, version, length = _PREFIX.unpack_from(data)
    if version not in STATISTICS_RECORDS:
        raise _invalid(f"its version is {version}, and this reads versions up to {VERSION}")
    if length > MAX_HEADER_BYTES or _PREFIX.size + length > len(data):
        raise _invalid(f"its header has {length} bytes")
    header = _header(bytes(data[_PREFIX.size : _PREFIX.size + length]))
    size = header.body_bytes(version)
    if size > max_body_bytes:
        raise _invalid(f"its body has {size:,} bytes, of at most {max_body_bytes:,}")
    body = _body(header, size, data[_PREFIX.size + length :])
    return parse(body[: header.flatbuffer_bytes], _weightless(header, version, body))


def pack(header: Header, body: bytes, level: int = 6) -> bytes:
    """Return the bytes of a structure, deflated at `level` where the header says so."""
    text = json.dumps({name: getattr(header, name) for name in header.__slots__}).encode()
    payload = zlib.compress(body, level) if header.compressed else body
    return _PREFIX.pack(MAGIC, VERSION, len(text)) + text + payload


def _invalid(what: str) -> InvalidModelError:
    return InvalidModelError(
        f"this is not a weightless structure that can be read: {what}",
        hint="Make it again from the .tflite file.",
    )


def _header(text: bytes) -> Header:
    try:
        fields: dict[str, Any] = json.loads(text)
        return Header(**fields)
    except (ValueError, TypeError, RecursionError):
        raise _invalid("its header is damaged") from None


def _body(header: Header, size: int, payload: memoryview) -> memoryview:
    if header.compressed:
        inflate = zlib.decompressobj()
        try:
            payload = memoryview(inflate.decompress(payload, max(size, 1)))
        except zlib.error:
            raise _invalid("its body cannot be decompressed") from None
    if len(payload) != size:
        raise _invalid(f"its body has {len(payload)} of {size} bytes")
    return payload


def _weightless(header: Header, version: int, body: memoryview) -> Weightless:
    sizes = np.frombuffer(body, "<i8", header.buffers, header.flatbuffer_bytes)
    start = header.flatbuffer_bytes + sizes.nbytes
    records = np.frombuffer(body, STATISTICS_RECORDS[version], header.records, start)
    return Weightless(header.model_id, header.file_bytes, sizes, current_records(records))
