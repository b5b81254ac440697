"""Find the names that a native library exports or asks for: the string table of its dynamic symbols."""

from __future__ import annotations

import struct
from typing import Final

MAGIC: Final = b"\x7fELF"
_LOAD, _DYNAMIC = 1, 2
_STRINGS, _STRINGS_BYTES = 5, 10
_MAX_SEGMENTS: Final = 64
_MAX_TAGS: Final = 1024
_MAX_STRINGS: Final = 16 << 20


def dynamic_strings(data: memoryview) -> bytes:
    """Return the dynamic string table of a little-endian library, empty where it has none."""
    if len(data) < 64 or bytes(data[:4]) != MAGIC or data[5] != 1:
        return b""
    try:
        segments = _segments(data, wide=data[4] == 2)
        found = next((segment for segment in segments if segment[0] == _DYNAMIC), None)
        return b"" if found is None else _strings(data, found, segments, wide=data[4] == 2)
    except struct.error:
        return b""


def _segments(data: memoryview, *, wide: bool) -> list[tuple[int, int, int, int]]:
    """Return (kind, file offset, address, bytes) of the program headers."""
    (start,) = struct.unpack_from("<Q" if wide else "<L", data, 32 if wide else 28)
    size, count = struct.unpack_from("<2H", data, 54 if wide else 42)
    found = []
    for index in range(min(count, _MAX_SEGMENTS)):
        at = start + index * size
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from("<2L4Q", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from("<5L", data, at)
        found.append((kind, offset, address, length))
    return found


def _strings(
    data: memoryview,
    dynamic: tuple[int, int, int, int],
    segments: list[tuple[int, int, int, int]],
    *,
    wide: bool,
) -> bytes:
    entry = struct.Struct("<2Q" if wide else "<2L")
    tags: dict[int, int] = {}
    for index in range(min(dynamic[3] // entry.size, _MAX_TAGS)):
        tag, value = entry.unpack_from(data, dynamic[1] + index * entry.size)
        if tag == 0:
            break
        tags.setdefault(tag, value)
    address, size = tags.get(_STRINGS), min(tags.get(_STRINGS_BYTES, 0), _MAX_STRINGS)
    if address is None:
        return b""
    for kind, offset, base, length in segments:
        if kind == _LOAD and base <= address < base + length:
            start = offset + address - base
            return bytes(data[start : start + size])
    return b""
