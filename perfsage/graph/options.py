"""The options (attributes) of operators: all at once as numbers, or one operator at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph import schema
from perfsage.graph.flatbuffer import Array, FlatBuffer
from perfsage.graph.schema import UNION_SIZE, Kind
from perfsage.graph.table import Table

_DTYPES = ("", "|i1", "|u1", "|b1", "<i4", "<u4", "<i8", "<f4")
_OTHER = len(_DTYPES)
AttributeValue = int | float | bool | str | tuple[int | float | bool, ...]


class _Lookup(NamedTuple):
    """The schema as tables over (union key, slot).

    `codes` are positions in _DTYPES (0: no such field; _OTHER: a vector or text), `defaults` the bits of
    the default, `slots` the number of fields of each key.
    """

    codes: Array
    defaults: Array
    slots: Array
    calls: Array


@cache
def _lookup() -> _Lookup:
    tables = {key: schema.fields(name) for key, name in schema.options_tables().items()}
    width = max((field.slot + 1 for table in tables.values() for field in table.values()), default=1)
    codes = np.zeros((2 * UNION_SIZE, width), np.uint8)
    defaults = np.zeros((2 * UNION_SIZE, width), np.int64)
    slots, calls = np.zeros(2 * UNION_SIZE, np.int64), np.zeros(2 * UNION_SIZE, bool)
    for key, table in tables.items():
        for field in table.values():
            scalar = field.kind is Kind.SCALAR
            codes[key, field.slot] = _DTYPES.index(field.dtype) if scalar else _OTHER
            defaults[key, field.slot] = _bits(field.default) if scalar else 0
            slots[key] = max(slots[key], field.slot + 1)
        calls[key] = any(names_subgraph(name) for name in table)
    return _Lookup(codes, defaults, slots, calls)


@cache
def _slots_of(name: str) -> tuple[Array, bool]:
    """Return the slot of the scalar option `name` by union key (-1: none), and whether it has a fraction."""
    found = np.full(2 * UNION_SIZE, -1, np.int64)
    fraction = False
    for key, table in schema.options_tables().items():
        field = schema.fields(table).get(name)
        if field and field.kind is Kind.SCALAR:
            found[key] = field.slot
            fraction |= field.dtype == "<f4"
    return found, fraction


def _bits(value: float | int | bool) -> int:
    return int(np.float32(value).view(np.int32)) if isinstance(value, float) else int(value)


def names_subgraph(name: str) -> bool:
    """Return whether an option refers to subgraphs: one (`body_subgraph_index`), or several."""
    return "subgraph" in name or name == "called_computations"


def defaults(keys: Array, width: int) -> tuple[Array, Array]:
    """Return the schema's default bits [operators, width] and whether each key has any field."""
    return _lookup().defaults[keys, :width], _lookup().slots[keys] > 0


class OptionTables:
    """The options of a run of operators: their union keys, table positions and values."""

    def __init__(self, buffer: FlatBuffer, operators: Array, fields: Array) -> None:
        self.buffer, self.operators, self.fields = buffer, operators, fields
        self._columns: dict[tuple[str, int | float], Array] = {}

    @cached_property
    def keys(self) -> Array:
        """Union key per operator: a BuiltinOptions value, 256 + a BuiltinOptions2 value, or 0 for none."""
        slot = schema.slots("Operator")
        keys = self._types(slot["builtin_options_type"])
        if self.fields[:, slot["builtin_options2_type"]].any():
            later = self._types(slot["builtin_options2_type"])
            keys = np.where(later, later + UNION_SIZE, keys)
        return keys

    def _types(self, slot: int) -> Array:
        offsets = self.fields[:, slot]
        return self.buffer.scalars(self.operators, offsets, "|u1", 0, "the options type").astype(np.int64)

    @cached_property
    def positions(self) -> Array:
        """Byte of each operator's options table; 0 where it has none."""
        slot = schema.slots("Operator")
        offsets = self.fields[:, slot["builtin_options"]]
        if (self.keys >= UNION_SIZE).any():
            offsets = np.where(self.keys < UNION_SIZE, offsets, self.fields[:, slot["builtin_options2"]])
        where = self.operators + offsets
        targets = where + self.buffer.at(self.buffer.u4, where, "the options of an operator")
        targets[(offsets == 0) | (self.keys == 0)] = 0
        return targets

    @cached_property
    def offsets(self) -> Array:
        """Field offsets [operators, slots] of the options tables; 0 where a table leaves a field out."""
        width = int(_lookup().slots[self.keys].max(initial=1))
        rows = np.flatnonzero(self.positions)
        if len(rows) == len(self.positions):
            return self.buffer.fields(self.positions, width, "an options table")
        offsets = np.zeros((len(self.operators), width), np.uint16)
        offsets[rows] = self.buffer.fields(self.positions[rows], width, "an options table")
        return offsets

    @cached_property
    def values(self) -> Array:
        """Scalar options [operators, slots] as int64, schema defaults filled in; floats as their 32 bits."""
        width = self.offsets.shape[1]
        codes = _lookup().codes[self.keys, :width]
        values = _lookup().defaults[self.keys, :width]
        rows, slots = np.nonzero(self.offsets * (codes > 0))
        present, where = codes[rows, slots], self.positions[rows] + self.offsets[rows, slots]
        for code in np.flatnonzero(np.bincount(present, minlength=1)).tolist():
            if code == _OTHER:
                continue
            chosen = present == code
            view = self.buffer.view("<i4" if _DTYPES[code] == "<f4" else _DTYPES[code])
            read = self.buffer.at(view, where[chosen], "an option")
            values[rows[chosen], slots[chosen]] = read != 0 if _DTYPES[code] == "|b1" else read
        return values

    @cached_property
    def present(self) -> Array:
        """Whether each operator has an options table."""
        return self.positions > 0

    def column(self, name: str, default: int | float) -> Array:
        """Return the scalar option `name` of every operator; `default` where it has no such option.

        The array is read-only and made once: features, costs and cycles ask for the same few options.
        """
        key = (name, default)
        if key not in self._columns:
            self._columns[key] = self._column(name, default)
            self._columns[key].flags.writeable = False
        return self._columns[key]

    def _column(self, name: str, default: int | float) -> Array:
        by_key, fraction = _slots_of(name)
        slots = by_key[self.keys]
        has = (slots >= 0) & self.present
        bits = self.values[np.arange(len(slots)), slots * has]
        values = bits.astype(np.int32).view(np.float32).astype(np.float64) if fraction else bits
        return np.where(has, values, np.asarray(default, None if fraction else type(default)))

    def attributes(self, row: int) -> Mapping[str, AttributeValue]:
        """Return one operator's options by name; vectors as tuples, absent vectors and texts left out."""
        table = self.table(row)
        if table is None:
            return MappingProxyType({})
        found = {name: table.get(name) for name in schema.fields(table.name)}
        return MappingProxyType({name: value for name, value in found.items() if value is not None})

    def table(self, row: int) -> Table | None:
        """Return the options table of one operator, or None when it has none that the schema knows."""
        name = schema.options_tables().get(int(self.keys[row]))
        position = int(self.positions[row])
        return Table(self.buffer, name, position) if name and position else None

    def others(self) -> list[tuple[int, int, Any]]:
        """Return (row, slot, value) of every option that is a vector or text and not empty."""
        width = self.offsets.shape[1]
        codes = _lookup().codes[self.keys, :width]
        rows, slots = np.nonzero(self.offsets * (codes == _OTHER))
        found, total = [], 0
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
            table = self.table(row)
            assert table is not None
            field = next(field for field in schema.fields(table.name).values() if field.slot == slot)
            total += table.vector(field, max(int(field.dtype[2:] or 1), 1))[1]
            self.buffer.check_total(total, "the options of operators", table.position)
            if value := table.get(field.name):
                found.append((row, slot, value))
        return found

    def custom(self, row: int) -> bytes:
        """Return the raw options of a custom operator, from inside the flatbuffer or from behind it."""
        table = Table(self.buffer, "Operator", int(self.operators[row]))
        start, count = table.vector(schema.fields("Operator")["custom_options"], 1)
        if not count:
            start, count = table.get("large_custom_options_offset"), table.get("large_custom_options_size")
        if count and start + count > self.buffer.size:
            raise InvalidModelError(
                f"operator {row} has {count} bytes of options at {start}, outside the file",
                offset=table.position,
            )
        return bytes(self.buffer.data[start : start + count])

    def called(self, subgraphs: int) -> list[tuple[int, int]]:
        """Return (row, subgraph) of every call; the called subgraph must be one of `subgraphs`."""
        edges: list[tuple[int, Any]] = []
        for row in np.flatnonzero(_lookup().calls[self.keys]).tolist():
            table = self.table(row)
            for name in filter(names_subgraph, schema.fields(table.name) if table else ()):
                value = table.get(name) if table else None
                targets = value if isinstance(value, tuple) else (value,)
                edges += [(row, target) for target in targets if target is not None]
            self.buffer.check_total(len(edges), "the calls of operators", int(self.operators[row]))
        for row, target in edges:
            if not 0 <= int(target) < subgraphs:
                raise InvalidModelError(
                    f"operator {row} calls subgraph {target} of {subgraphs}", offset=int(self.operators[row])
                )
        return edges
