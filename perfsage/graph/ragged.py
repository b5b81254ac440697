"""Rows of different lengths in two arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfsage.graph.flatbuffer import Array, FlatBuffer


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths: row i is `values[offsets[i] : offsets[i + 1]]`."""

    values: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Array:
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Array:
        """The length of each row."""
        return self.offsets[1:] - self.offsets[:-1]

    @cached_property
    def row_indices(self) -> Array:
        """The row of each value, to read only."""
        rows = np.repeat(np.arange(len(self)), self.lengths)
        rows.flags.writeable = False
        return rows

    def row_of(self, position: int) -> int:
        """Return the row that holds `values[position]`."""
        return int(np.searchsorted(self.offsets, position, "right")) - 1

    def rows(self, start: int, stop: int) -> Ragged:
        """Return rows start to stop, sharing the values."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, order: Array) -> Ragged:
        """Return the rows in another order."""
        lengths = self.lengths[order]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        shifts = np.repeat(self.offsets[order] - offsets[:-1], lengths)
        return Ragged(self.values[shifts + np.arange(offsets[-1])], offsets)


def read_ragged(buffer: FlatBuffer, tables: Array, fields: Sequence[Array], what: str) -> list[Ragged]:
    """Return several int32 vector fields of the same tables, read in one gather.

    `fields` holds the field's offset in every table, once for each field.
    """
    count, kinds = len(tables), len(fields)
    together = np.concatenate(fields) if kinds > 1 else fields[0]
    starts, lengths = buffer.vectors(np.tile(tables, kinds), together, 4, what)
    values, offsets = buffer.gather(starts, lengths, "<i4", what)
    if kinds == 1:
        return [Ragged(values, offsets)]
    return [Ragged(values, offsets).rows(kind * count, (kind + 1) * count) for kind in range(kinds)]
