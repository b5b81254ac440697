"""Read tar and ar archives that lie in memory; the standard library's tar reader trusts header sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dataset.apps.limits import Budget, Refused
from dataset.apps.zipfiles import text_of

_BLOCK: Final = 512
_MAX_NAME_BYTES: Final = 1 << 16
_REGULAR = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")
_AR_MAGIC: Final = b"!<arch>\n"

Member = tuple[str, memoryview]


def is_tar(head: bytes) -> bool:
    """Return whether a file begins with the header of a tar archive (POSIX or GNU)."""
    return head[257:262] == b"ustar"


def is_ar(head: bytes) -> bool:
    """Return whether a file begins like an ar archive, which Debian's packages are."""
    return head.startswith(_AR_MAGIC)


def tar_members(data: memoryview, budget: Budget) -> Iterator[Member]:
    """Yield name and content of every regular file; links and devices are counted and left alone."""
    position, long_name = 0, ""
    while position + _BLOCK <= len(data):
        header = bytes(data[position : position + _BLOCK])
        if not header.strip(b"\0"):
            return
        budget.entry()
        size, kind = _octal(header[124:136]), header[156:157]
        start = position + _BLOCK
        if size < 0 or start + size > len(data):
            raise Refused("a tar entry reaches beyond the end of the archive")
        position = start + -(-size // _BLOCK) * _BLOCK
        content = data[start : start + size]
        if kind in (b"L", b"x"):
            long_name = _long_name(content, kind) or long_name
            continue
        if kind in _REGULAR:
            yield long_name or _name(header), content
        elif kind in _LINKS:
            budget.problems["links"] += 1
        long_name = ""


def ar_members(data: memoryview, budget: Budget) -> Iterator[Member]:
    """Yield name and content of every member."""
    position = len(_AR_MAGIC)
    while position + 60 <= len(data):
        budget.entry()
        header = bytes(data[position : position + 60])
        text = header[48:58].strip()
        if header[58:] != b"`\n" or not text.isdigit():
            raise Refused("an ar member's header is broken")
        start, size = position + 60, int(text)
        if start + size > len(data):
            raise Refused("an ar member reaches beyond the end of the archive")
        yield text_of(header[:16].rstrip(b" /")), data[start : start + size]
        position = start + size + size % 2


def _octal(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    return (
        int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else (-1 if digits else 0)
    )


def _name(header: bytes) -> str:
    prefix, name = (part.split(b"\0")[0] for part in (header[345:500], header[:100]))
    return text_of(prefix + b"/" + name if prefix else name)


def _long_name(content: memoryview, kind: bytes) -> str:
    """Return the name in a GNU long name or in a pax header, empty when the latter has none."""
    if len(content) > _MAX_NAME_BYTES:
        raise Refused("a tar entry's name is longer than 64 KiB")
    text = bytes(content)
    if kind == b"L":
        return text_of(text.rstrip(b"\0"))
    records = (record.partition(b" ")[2] for record in text.split(b"\n"))
    return next((text_of(record[5:]) for record in records if record.startswith(b"path=")), "")
