"""Read Android's binary XML and resource tables: the manifest of an APK and the name that it refers to.

The formats are those of AOSP's ResourceTypes.h. Readers on PyPI bring lxml and cryptography along and
allocate what the file asks for; the five chunk types that a manifest needs are bounded here by its size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_STRING_POOL, _XML, _START_ELEMENT, _TABLE, _PACKAGE, _TYPE = 0x0001, 0x0003, 0x0102, 0x0002, 0x0200, 0x0201
_RESOURCE_MAP: Final = 0x0180
_UTF8_FLAG: Final = 0x100
_REFERENCE, _STRING, _INTEGER, _HEX, _BOOLEAN = 0x01, 0x03, 0x10, 0x11, 0x12
_MAX_ATTRIBUTES: Final = 256
_MAX_TEXT: Final = 512
_NONE: Final = 0xFFFFFFFF
_MAX_HOPS: Final = 8

ATTRIBUTES = {
    0x01010001: "label", 0x01010003: "name", 0x0101020C: "minSdkVersion", 0x01010270: "targetSdkVersion",
    0x0101021B: "versionCode", 0x0101021C: "versionName", 0x01010024: "value",
}  # fmt: skip
"""Framework attributes by resource id: shrinkers drop their names."""
_WANTED = {*ATTRIBUTES.values(), "package"}

Value = str | int | None


@dataclass(frozen=True, slots=True)
class Reference:
    """A resource that stands elsewhere, `0x7f0b001c`."""

    id: int


@dataclass(frozen=True, slots=True)
class Element:
    """One element's name and the attributes that have values."""

    name: str
    attributes: dict[str, Value | Reference]


def elements(data: memoryview) -> Iterator[Element]:
    """Yield the elements of a binary XML file in document order; ValueError when it is none."""
    strings: Pool | None = None
    ids: tuple[int, ...] = ()
    for kind, chunk, header in _chunks(_body(data, _XML)):
        if kind == _STRING_POOL:
            strings = Pool(chunk)
        elif kind == _RESOURCE_MAP:
            ids = struct.unpack_from(f"<{(len(chunk) - header) // 4}L", chunk, header)
        elif kind == _START_ELEMENT:
            yield _element(chunk[header:], strings, ids)


def _body(data: memoryview, kind: int) -> memoryview:
    if len(data) < 8:
        raise ValueError("too short")
    found, header, size = struct.unpack_from("<2HL", data, 0)
    if found != kind or not 8 <= header <= size:
        raise ValueError("another kind of file")
    return data[header : min(size, len(data))]


def _chunks(data: memoryview) -> Iterator[tuple[int, memoryview, int]]:
    """Yield (kind, chunk with its header, bytes of the header)."""
    position = 0
    while position + 8 <= len(data):
        kind, header, size = struct.unpack_from("<2HL", data, position)
        if not 8 <= header <= size or position + size > len(data):
            return
        yield kind, data[position : position + size], header
        position += size


class Pool:
    """A string pool; strings are read when they are asked for."""

    def __init__(self, chunk: memoryview) -> None:
        self._chunk = chunk
        self._count, _, flags, self._start = struct.unpack_from("<4L", chunk, 8)
        self._utf8 = bool(flags & _UTF8_FLAG)
        self._count = min(self._count, (len(chunk) - 28) // 4)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < self._count:
            return ""
        (offset,) = struct.unpack_from("<L", self._chunk, 28 + 4 * index)
        at = self._start + offset
        return self._read8(at) if self._utf8 else self._read16(at)

    def _read8(self, at: int) -> str:
        data = self._chunk
        at += 2 if data[at] & 0x80 else 1  # the length in characters
        size, at = (
            (((data[at] & 0x7F) << 8) | data[at + 1], at + 2) if data[at] & 0x80 else (data[at], at + 1)
        )
        return bytes(data[at : at + min(size, _MAX_TEXT)]).decode("utf-8", "replace")

    def _read16(self, at: int) -> str:
        (size,) = struct.unpack_from("<H", self._chunk, at)
        at += 2
        if size & 0x8000:
            (low,) = struct.unpack_from("<H", self._chunk, at)
            size, at = ((size & 0x7FFF) << 16) | low, at + 2
        return bytes(self._chunk[at : at + 2 * min(size, _MAX_TEXT)]).decode("utf-16-le", "replace")


def _element(body: memoryview, strings: Pool | None, ids: tuple[int, ...]) -> Element:
    _, name, first, size, count = struct.unpack_from("<2L3H", body, 0)
    found: dict[str, Value | Reference] = {}
    for index in range(min(count, _MAX_ATTRIBUTES)):
        _, key, raw, _, _, kind, data = struct.unpack_from("<3LH2BL", body, first + index * size)
        text = _pick(strings, key)
        label = ATTRIBUTES.get(ids[key], text) if key < len(ids) else text
        if label in _WANTED:
            found.setdefault(label, _value(kind, data, raw, strings))
    return Element(_pick(strings, name), found)


def _pick(strings: Pool | None, index: int) -> str:
    return strings[index] if strings is not None else ""


def _value(kind: int, data: int, raw: int, strings: Pool | None) -> Value | Reference:
    if kind == _STRING:
        return _pick(strings, data)
    if kind == _REFERENCE:
        return Reference(data)
    if kind in (_INTEGER, _HEX, _BOOLEAN):
        return data
    return _pick(strings, raw) if raw != _NONE else None


def look_up(table: memoryview, reference: Reference) -> str | None:
    """Return the text that a resource has by default, None where there is none or the table is broken."""
    try:
        for _ in range(_MAX_HOPS):
            found = _find(table, reference.id)
            if not isinstance(found, Reference):
                return found
            reference = found
    except (struct.error, IndexError, ValueError):
        pass
    return None


def _find(table: memoryview, identity: int) -> str | Reference | None:
    package, kind, entry = identity >> 24, identity >> 16 & 0xFF, identity & 0xFFFF
    pool: Pool | None = None
    for chunk_kind, chunk, header in _chunks(_body(table, _TABLE)):
        if chunk_kind == _STRING_POOL:
            pool = Pool(chunk)
        elif chunk_kind == _PACKAGE and pool and struct.unpack_from("<L", chunk, 8)[0] == package:
            types = (c for k, c, _ in _chunks(chunk[header:]) if k == _TYPE and c[8] == kind)
            for candidate in sorted(types, key=_is_special):
                found = _entry(candidate, entry, pool)
                if found is not None:
                    return found
    return None


def _is_special(chunk: memoryview) -> bool:
    """Return whether a type chunk is for some configuration, such as a language."""
    (size,) = struct.unpack_from("<L", chunk, 20)
    return any(chunk[24 : 20 + min(size, 64)])


def _entry(chunk: memoryview, wanted: int, pool: Pool) -> str | Reference | None:
    (header,) = struct.unpack_from("<H", chunk, 2)
    flags, count, start = struct.unpack_from("<B2xLL", chunk, 9)
    offset = _offset(chunk, wanted, header, flags, count)
    if offset is None:
        return None
    at = start + offset
    size, entry_flags, key = struct.unpack_from("<2HL", chunk, at)
    if entry_flags & 0x8:  # compact: the value stands where the key's name was
        kind, data = entry_flags >> 8, key
    elif entry_flags & 0x1:  # a map of values
        return None
    else:
        kind, data = struct.unpack_from("<3xBL", chunk, at + size)
    if kind == _STRING:
        return pool[data]
    return Reference(data) if kind == _REFERENCE else None


def _offset(chunk: memoryview, wanted: int, header: int, flags: int, count: int) -> int | None:
    if flags & 0x1:  # sparse: pairs of entry and offset / 4
        pairs = (struct.unpack_from("<2H", chunk, header + 4 * i) for i in range(min(count, 0x10000)))
        return next((4 * offset for entry, offset in pairs if entry == wanted), None)
    if wanted >= count:
        return None
    if flags & 0x2:
        (short,) = struct.unpack_from("<H", chunk, header + 2 * wanted)
        return None if short == 0xFFFF else 4 * short
    (offset,) = struct.unpack_from("<L", chunk, header + 4 * wanted)
    return None if offset == _NONE else int(offset)
