"""One flatbuffer table at a time: for the model's own fields and for whatever is read only on demand."""

from __future__ import annotations

from typing import Any

from perfsage.errors import InvalidModelError
from perfsage.graph import schema
from perfsage.graph.flatbuffer import FlatBuffer
from perfsage.graph.schema import Field, Kind

MAX_TEXT_BYTES = 1 << 20


class Table:
    """A table of class `name` at byte `position`; every field is checked as it is read."""

    __slots__ = ("buffer", "name", "position", "vtable", "vtable_bytes")

    def __init__(self, buffer: FlatBuffer, name: str, position: int) -> None:
        self.buffer, self.name, self.position = buffer, name, position
        self.vtable = position - buffer.number(buffer.i4, position, f"a table {name}")
        what = f"the vtable of {name}"
        self.vtable_bytes = buffer.number(buffer.u2, self.vtable, what)
        if self.vtable + self.vtable_bytes > buffer.size:
            raise InvalidModelError(f"{what} ends outside the file", offset=position)

    def position_of(self, slot: int) -> int:
        """Return the byte of a field, or 0 when the table leaves it out."""
        entry = 4 + 2 * slot
        if entry + 2 > self.vtable_bytes:
            return 0
        offset = int(self.buffer.u2[self.vtable + entry])
        return self.position + offset if offset else 0

    def vector(self, field: Field, width: int) -> tuple[int, int]:
        """Return (start, length) of a vector field of `width`-byte elements; (0, 0) when it is absent."""
        where = self.position_of(field.slot)
        if not where:
            return 0, 0
        what = f"{self.name}.{field.name}"
        head = where + self.buffer.number(self.buffer.u4, where, what)
        length = self.buffer.number(self.buffer.u4, head, what)
        if head + 4 + length * width > self.buffer.size:
            raise InvalidModelError(
                f"{what} with {length} elements ends outside the file of {self.buffer.size} bytes",
                offset=head,
            )
        return head + 4, length

    def get(self, name: str) -> Any:
        """Return the value of a field: a number, text, tuple, Table, list of tables or None."""
        field = schema.fields(self.name)[name]
        return _READERS[field.kind](self, field)

    def union(self, name: str) -> Table | None:
        """Return the table behind a union field, whose kind stands in the field `<name>_type`.

        None when the field is empty or of a kind that the schema does not know.
        """
        kind = schema.union_tables(name).get(self.get(f"{name}_type"))
        where = self.position_of(schema.slots(self.name)[name])
        return self._nested(kind, where, name) if kind and where else None

    def _nested(self, kind: str, where: int, name: str) -> Table:
        target = where + self.buffer.number(self.buffer.u4, where, f"{self.name}.{name}")
        return Table(self.buffer, kind, target)


def _scalar(table: Table, field: Field) -> Any:
    where = table.position_of(field.slot)
    if not where:
        return field.default
    view = table.buffer.view(field.dtype)
    value = table.buffer.number(view, where, f"{table.name}.{field.name}")
    return bool(value) if field.dtype == "|b1" else value


def _text(table: Table, field: Field) -> str | None:
    start, length = table.vector(field, 1)
    if length > MAX_TEXT_BYTES:
        raise InvalidModelError(f"{table.name}.{field.name} has {length} bytes", offset=start)
    return str(table.buffer.data[start : start + length], "utf-8", "replace") if start else None


def _numbers(table: Table, field: Field) -> tuple[int | float | bool, ...]:
    start, length = table.vector(field, int(field.dtype[2]))
    step = int(field.dtype[2])
    values = table.buffer.view(field.dtype)[start : start + length * step : step]
    return tuple(values.astype(bool).tolist() if field.dtype == "|b1" else values.tolist())


def _table(table: Table, field: Field) -> Table | None:
    where = table.position_of(field.slot)
    return table._nested(field.table or "", where, field.name) if where else None


def _tables(table: Table, field: Field) -> list[Table]:
    start, length = table.vector(field, 4)
    return [table._nested(field.table or "", start + 4 * i, field.name) for i in range(length)]


def _refuse(table: Table, field: Field) -> None:
    raise TypeError(f"{table.name}.{field.name} is a union: read it with union()")


_READERS = {
    Kind.SCALAR: _scalar,
    Kind.STRING: _text,
    Kind.VECTOR: _numbers,
    Kind.TABLE: _table,
    Kind.TABLES: _tables,
    Kind.UNION: _refuse,
}
