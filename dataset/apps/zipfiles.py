"""Read a zip file's central directory the way Android does: tolerant of oddities, bounded, never trusting.

The standard library's reader makes an object of every entry before anybody can say stop, and refuses
archives that Android installs (entries that pretend to be encrypted, for one).
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dataset.apps.limits import Budget, Refused

_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL_BYTES: Final = 30
_MAX_COMMENT_BYTES: Final = 0xFFFF
STORED: Final = 0
DEFLATED: Final = 8
_ENCRYPTED: Final = 1
_UNIX: Final = 3


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One line of the directory; sizes are what it claims. `start` is where its local header begins."""

    name: str
    method: int
    encrypted: bool
    link: bool
    packed_bytes: int
    bytes: int
    start: int


@dataclass(frozen=True, slots=True)
class _Directory:
    start: int
    end: int
    entries: int
    shift: int
    """Bytes before the archive proper, which its offsets do not count."""


def is_zip(head: bytes) -> bool:
    """Return whether a file begins like a zip archive, possibly an empty one."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def ends_as_zip(data: memoryview) -> bool:
    """Return whether a file ends like a zip archive, whatever stands before its first entry."""
    try:
        _find(data)
    except Refused:
        return False
    return True


def directory_bytes(data: memoryview) -> memoryview:
    """Return the central directory with its end record: names, sizes and CRC-32 of everything."""
    return data[_find(data).start :]


def read_entries(data: memoryview, budget: Budget) -> list[ZipEntry]:
    """Return the entries whose bytes are their own, in directory order; the others are counted.

    Refused when there is no directory, or too many entries.
    """
    found = list(_entries(data, _find(data), budget))
    ends: dict[int, int] = {}
    reached = -1
    for entry in sorted(found, key=lambda entry: (entry.start, -entry.packed_bytes)):
        if entry.start >= reached:
            reached = entry.start + _LOCAL_BYTES + entry.packed_bytes
            ends[id(entry)] = reached
    budget.problems["overlapping entries"] += len(found) - len(ends)
    return [entry for entry in found if id(entry) in ends]


def packed(data: memoryview, entry: ZipEntry) -> memoryview | None:
    """Return the entry's bytes as stored, None when its local header or its size is wrong."""
    header = bytes(data[entry.start : entry.start + _LOCAL_BYTES])
    if len(header) < _LOCAL_BYTES or header[:4] != b"PK\x03\x04":
        return None
    names, extra = struct.unpack_from("<2H", header, 26)
    start = entry.start + _LOCAL_BYTES + names + extra
    end = start + entry.packed_bytes
    return data[start:end] if end <= len(data) else None


def _find(data: memoryview) -> _Directory:
    tail_start = max(0, len(data) - _MAX_COMMENT_BYTES - _END.size)
    at = bytes(data[tail_start:]).rfind(b"PK\x05\x06")
    if at < 0 or tail_start + at + _END.size > len(data):
        raise Refused("it has no central directory (cut off, or no zip file)")
    end = tail_start + at
    _, _, _, _, entries, size, offset, _ = _END.unpack_from(data, end)
    wide = _find64(data, end)
    if wide is not None:
        return wide
    start = end - size
    if start < 0 or start < offset:
        raise Refused("its central directory lies outside the file")
    return _Directory(start, end, entries, start - offset)


def _find64(data: memoryview, end: int) -> _Directory | None:
    locator = end - 20
    if locator < 0 or bytes(data[locator : locator + 4]) != b"PK\x06\x07":
        return None
    (place,) = struct.unpack_from("<Q", data, locator + 8)
    if place + _END64.size > locator or bytes(data[place : place + 4]) != b"PK\x06\x06":
        raise Refused("its 64-bit central directory is broken")
    *_, entries, size, offset = _END64.unpack_from(data, place)
    if offset + size > place:
        raise Refused("its 64-bit central directory lies outside the file")
    return _Directory(offset, offset + size, entries, 0)


def _entries(data: memoryview, directory: _Directory, budget: Budget) -> Iterator[ZipEntry]:
    position, seen = directory.start, 0
    while position + _CENTRAL.size <= directory.end:
        fields = _CENTRAL.unpack_from(data, position)
        if fields[0] != b"PK\x01\x02":
            break
        budget.entry()
        seen += 1
        name_at = position + _CENTRAL.size
        extra_at = name_at + fields[10]
        name = bytes(data[name_at:extra_at])
        extra = data[extra_at : extra_at + fields[11]]
        yield _entry(fields, name, extra, directory.shift)
        position = extra_at + fields[11] + fields[12]
    if seen != directory.entries:
        budget.problems["entries that the directory promised and does not list"] += 1


def _entry(fields: tuple[int, ...], name: bytes, extra: memoryview, shift: int) -> ZipEntry:
    _, made_by, _, flags, method, _, _, _, packed_bytes, size, *rest = fields
    attributes, start = rest[-2], rest[-1]
    if 0xFFFFFFFF in (size, packed_bytes, start):
        size, packed_bytes, start = _widen(extra, size, packed_bytes, start)
    link = made_by >> 8 == _UNIX and stat.S_ISLNK(attributes >> 16)
    return ZipEntry(text_of(name), method, bool(flags & _ENCRYPTED), link, packed_bytes, size, start + shift)


def _widen(extra: memoryview, *values: int) -> list[int]:
    """Replace the values that are all ones by those of the zip64 extra field, which come in order."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            wide = iter(
                struct.unpack_from(f"<{min(size, len(extra) - position - 4) // 8}Q", extra, position + 4)
            )
            return [next(wide, value) if value == 0xFFFFFFFF else value for value in values]
        position += 4 + size
    return list(values)


def text_of(name: bytes) -> str:
    """Return a name as text that any database takes: at most 512 characters, no NUL."""
    return name[:2048].decode("utf-8", "replace").replace("\0", "\ufffd")[:512]
