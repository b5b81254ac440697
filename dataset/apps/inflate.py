"""Decompress the head of something to see what it is, or all of it within a budget."""

from __future__ import annotations

import bz2
import lzma
import mmap
import struct
import tempfile
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

from dataset.apps.limits import MIB, Budget, Refused
from perfsage.errors import MissingExtraError

try:
    from isal import isal_zlib  # twice as fast as zlib on the same data
except ImportError as error:
    raise MissingExtraError("isal", "dataset") from error

HEAD_BYTES: Final = 1024
"""How much of an entry is looked at before anything else."""
_IN_MEMORY_BYTES: Final = 64 * MIB
_STEP_BYTES: Final = MIB
_LZMA_MEMORY_BYTES: Final = 128 * MIB
RAW_DEFLATE: Final = "deflate"

FAILURES: Final[tuple[type[Exception], ...]] = (
    cast("type[Exception]", isal_zlib.error),
    lzma.LZMAError,
    OSError,
    EOFError,
    ValueError,
    IndexError,
    struct.error,
)
"""What damaged data make decompressors and parsers raise."""


class Decompressor(Protocol):
    """What zlib's, lzma's and bz2's decompressors have in common after wrapping."""

    def feed(self, data: bytes | memoryview, limit: int) -> bytes:
        """Return at most `limit` bytes more; call with empty data to go on with what was left."""

    @property
    def finished(self) -> bool:
        """Whether the stream has ended."""


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._inner = isal_zlib.decompressobj(window_bits)

    def feed(self, data: bytes | memoryview, limit: int) -> bytes:
        tail = self._inner.unconsumed_tail
        done: bytes = self._inner.decompress(tail + bytes(data) if tail else data, limit)
        return done

    @property
    def finished(self) -> bool:
        return bool(self._inner.eof)


class _Standard:
    def __init__(self, inner: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._inner = inner

    def feed(self, data: bytes | memoryview, limit: int) -> bytes:
        return self._inner.decompress(bytes(data), limit)

    @property
    def finished(self) -> bool:
        return self._inner.eof


_MAKERS: dict[str, Callable[[], Decompressor]] = {
    RAW_DEFLATE: lambda: _Zlib(-15),
    "gzip": lambda: _Zlib(31),
    "xz": lambda: _Standard(lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    "bzip2": lambda: _Standard(bz2.BZ2Decompressor()),
}
_MAGIC = {b"\x1f\x8b\x08": "gzip", b"\xfd7zXZ\0": "xz", b"BZh": "bzip2"}


def compression_of(head: bytes) -> str | None:
    """Return the kind of compressed stream that begins with `head`, None for anything else."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def inflate_head(kind: str, data: memoryview) -> bytes:
    """Return the first HEAD_BYTES of a stream, or what there is before it breaks."""
    try:
        return _MAKERS[kind]().feed(data[: 2 * HEAD_BYTES], HEAD_BYTES)
    except FAILURES:
        return b""


def inflate(kind: str, data: memoryview, budget: Budget) -> memoryview:
    """Return the whole content of a stream; above 64 MiB it lies in a deleted temporary file, not in memory.

    Refused when it exceeds the budget; one of FAILURES when the stream is damaged or ends early.
    """
    decompressor = _MAKERS[kind]()
    parts: list[bytes] = []
    with tempfile.TemporaryFile() as file:
        total = 0
        for part in _steps(decompressor, data, budget):
            total += len(part)
            parts.append(part)
            if total > _IN_MEMORY_BYTES:
                file.writelines(parts)
                parts.clear()
        if total <= _IN_MEMORY_BYTES:
            return memoryview(b"".join(parts))
        file.writelines(parts)
        file.flush()
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _steps(decompressor: Decompressor, data: memoryview, budget: Budget) -> Iterator[bytes]:
    position, total = 0, 0
    while not decompressor.finished:
        chunk = data[position : position + _STEP_BYTES]
        position += len(chunk)
        part = decompressor.feed(chunk, _STEP_BYTES * 4)
        while part:
            budget.inflate(len(part))
            total += len(part)
            if total > budget.limits.entry_bytes:
                raise Refused(f"an entry is larger than {budget.limits.entry_bytes} bytes")
            yield part
            part = b"" if decompressor.finished else decompressor.feed(b"", _STEP_BYTES * 4)
        if not len(chunk) and not decompressor.finished:
            raise EOFError("the compressed data end early")
