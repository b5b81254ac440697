"""Walk the fields of a protobuf message without its schema, as far as its bytes are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

VARINT: Final = 0
LENGTH: Final = 2
_FIXED = {1: 8, 5: 4}


class Field(NamedTuple):
    """One field: its number, its wire type, and where its value lies (`end` may lie beyond the data)."""

    number: int
    wire: int
    value: int
    start: int
    end: int


def varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """Return (value, position behind it); ValueError where there is none of 10 bytes at most."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("no varint")


def fields(data: bytes | memoryview, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """Yield the fields from `start` to `end`; stops where the data end, ValueError at nonsense."""
    position = start
    end = len(data) if end is None else end
    while position < min(end, len(data)):
        try:
            key, position = varint(data, position)
            number, wire = key >> 3, key & 7
            if wire == VARINT:
                value, after = varint(data, position)
            elif wire == LENGTH:
                value, position = varint(data, position)
                after = position + value
            else:
                value, after = 0, position + _FIXED[wire]
        except KeyError:
            raise ValueError("no wire type") from None
        if number == 0 or after > end:
            raise ValueError("no field")
        yield Field(number, wire, value, position, after)
        position = after


def text(data: bytes | memoryview, field: Field, limit: int = 512) -> str | None:
    """Return a field as printable text, None when it is something else or not wholly there."""
    if field.wire != LENGTH or field.end > len(data) or field.value > limit:
        return None
    try:
        value = bytes(data[field.start : field.end]).decode()
    except UnicodeDecodeError:
        return None
    return value if all(character.isprintable() or character in "\n\t" for character in value) else None
