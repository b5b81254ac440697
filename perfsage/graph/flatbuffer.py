"""Reads many flatbuffer tables at once: one numpy gather for one field of every table.

All positions are absolute byte offsets (int64). A view whose elements overlap (stride 1) lets one fancy
index read numbers at any byte, aligned or not; numpy itself refuses indices beyond the end. Offsets in a
flatbuffer only point forward, except from a table to its vtable, so that is the one place where a
position can become negative.
Format: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidModelError

Array = NDArray[Any]
SPARE_VALUES = 1 << 16
"""Vectors may be shared between tables; together they may hold this many values more than file bytes."""


class FlatBuffer:
    """The bytes of a file, as overlapping views by numpy type code."""

    __slots__ = ("_views", "data", "f4", "i1", "i4", "i8", "size", "u1", "u2", "u4", "u8")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.size = data.nbytes
        self.u1, self.i1 = self._view("|u1"), self._view("|i1")
        self.u2 = self._view("<u2")
        self.i4, self.u4, self.f4 = self._view("<i4"), self._view("<u4"), self._view("<f4")
        self.i8, self.u8 = self._view("<i8"), self._view("<u8")
        self._views = {"|u1": self.u1, "|i1": self.i1, "|b1": self.u1, "<u2": self.u2, "<i4": self.i4}
        self._views |= {"<u4": self.u4, "<f4": self.f4, "<i8": self.i8, "<u8": self.u8}

    def _view(self, dtype: str) -> Array:
        count = max(self.size - int(dtype[2]) + 1, 0)
        return np.ndarray((count,), dtype, self.data if count else b"\0" * 8, 0, (1,))

    def view(self, dtype: str) -> Array:
        """Return the view of a numpy type code (`<i4`, `|b1`, ...)."""
        if dtype not in self._views:
            self._views[dtype] = self._view(dtype)
        return self._views[dtype]

    def at(self, view: Array, positions: Array, what: str) -> Array:
        """Return the numbers at `positions`; `what` says what they are when one lies outside the file."""
        try:
            return view[positions]
        except IndexError:
            raise self._outside(int(positions.max()), what) from None

    def number(self, view: Array, position: int, what: str) -> Any:
        """Return one number as a Python value."""
        if not 0 <= position < len(view):
            raise self._outside(position, what)
        return view[position].item()

    def _outside(self, position: int, what: str) -> InvalidModelError:
        return InvalidModelError(f"{what} lies outside the file of {self.size} bytes", offset=position)

    def fields(self, tables: Array, count: int, what: str) -> Array:
        """Return the field offsets [tables, count] of `tables`; 0 where a table leaves a field out."""
        vtables = tables - self.at(self.i4, tables, what)
        if len(vtables) == 0:
            return np.zeros((0, count), np.int64)
        if vtables.min() < 0:
            row = int(vtables.argmin())
            raise InvalidModelError(
                f"the vtable of {what} lies before the start of the file", offset=int(tables[row])
            )
        lengths = self.at(self.u2, vtables, f"the vtable of {what}")
        end = 4 + 2 * count
        if vtables.max() + end > self.size:
            self._check_vtables(tables, vtables, lengths, what)
            positions = vtables[:, None] + np.arange(4, end, 2)
            entries = self.u2[np.minimum(positions, self.size - 2)]
        else:
            # A row for each byte of the file: one index for each table, and not for each field.
            entries = np.ndarray((self.size - end + 1, count), "<u2", self.data, 4, (1, 2))[vtables]
        offsets = entries * (np.arange(5, end + 1, 2) < lengths[:, None])
        return offsets

    def _check_vtables(self, tables: Array, vtables: Array, lengths: Array, what: str) -> None:
        beyond = np.flatnonzero(vtables + lengths > self.size)
        if len(beyond):
            raise InvalidModelError(
                f"the vtable of {what} ends outside the file of {self.size} bytes",
                offset=int(tables[beyond[0]]),
            )

    def scalars(self, tables: Array, offsets: Array, dtype: str, default: Any, what: str) -> Array:
        """Return one scalar field of every table, given its field offsets."""
        values = self.at(self.view(dtype), tables + offsets, what)
        absent = offsets == 0
        if absent.any():
            values[absent] = default
        return values.astype(bool) if dtype == "|b1" else values

    def vectors(self, tables: Array, offsets: Array, width: int, what: str) -> tuple[Array, Array]:
        """Return (starts, lengths) of a vector of `width`-byte elements in every table; empty if absent."""
        fields = tables + offsets
        heads = fields + self.at(self.u4, fields, what)
        absent = offsets == 0
        if absent.any():
            heads[absent] = 0
        lengths = self.at(self.u4, heads, what).astype(np.int64)
        lengths[absent] = 0
        starts = heads + 4
        if len(starts) and (starts + lengths * width).max() > self.size:
            row = int((starts + lengths * width).argmax())
            raise InvalidModelError(
                f"{what} with {lengths[row]} elements ends outside the file of {self.size} bytes",
                offset=int(heads[row]),
            )
        return starts, lengths

    def gather(self, starts: Array, lengths: Array, dtype: str, what: str) -> tuple[Array, Array]:
        """Return the concatenated elements of many vectors and the offsets [n + 1] of each in them."""
        offsets = np.empty(len(lengths) + 1, np.int64)
        offsets[0] = 0
        np.cumsum(lengths, out=offsets[1:])
        total = int(offsets[-1])
        self.check_total(total, what, int(starts[0]) if total else 0)
        width = int(dtype[2])
        shifts = np.repeat(starts - offsets[:-1] * width, lengths)
        return self.view(dtype)[shifts + np.arange(0, total * width, width)], offsets

    def check_total(self, total: int, what: str, offset: int) -> None:
        """Refuse vectors that many tables share in order to multiply; `total` counts all their elements."""
        if total > self.size + SPARE_VALUES:
            raise InvalidModelError(
                f"{what} together declare {total} elements, more than a file of {self.size} bytes can hold",
                offset=offset,
            )

    def targets(self, start: int, count: int) -> Array:
        """Return the positions of the tables of a vector of tables, whose bounds were checked."""
        fields = np.arange(start, start + 4 * count, 4)
        return fields + self.u4[fields]
