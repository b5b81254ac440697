"""Find class names in Android's dex files: their string table is sorted, so nothing else is read."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

MAGIC: Final = b"dex\n"
_LONGEST: Final = 256


def classes_with(data: memoryview, prefixes: Iterable[str]) -> Iterator[str]:
    """Yield those of `prefixes` (`org/tensorflow/lite/`) that some class in the file begins with."""
    if len(data) < 0x70 or bytes(data[:4]) != MAGIC:
        return
    count, offset = struct.unpack_from("<2L", data, 0x38)
    if offset + 4 * count > len(data):
        return
    for prefix in prefixes:
        wanted = b"L" + prefix.encode()
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if _string(data, offset, middle) < wanted:
                low = middle + 1
            else:
                high = middle
        if low < count and _string(data, offset, low).startswith(wanted):
            yield prefix


def _string(data: memoryview, table: int, index: int) -> bytes:
    """Return the beginning of a string; its length stands before it as a number of 1 to 5 bytes."""
    (start,) = struct.unpack_from("<L", data, table + 4 * index)
    raw = bytes(data[start : start + _LONGEST + 5])
    skip = next((i + 1 for i, byte in enumerate(raw[:5]) if byte < 0x80), 0)
    return raw[skip:].split(b"\0", 1)[0]
