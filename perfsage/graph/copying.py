"""Copies the tables of a model into a new flatbuffer, field by field as the schema lists them."""

from __future__ import annotations

import flatbuffers
import numpy as np
from flatbuffers import number_types

from perfsage.errors import InvalidModelError
from perfsage.graph import schema
from perfsage.graph.graph import Graph
from perfsage.graph.schema import Field, Kind
from perfsage.graph.table import Table

_FLAGS = {
    "|b1": number_types.BoolFlags,
    "|i1": number_types.Int8Flags,
    "|u1": number_types.Uint8Flags,
    "<i4": number_types.Int32Flags,
    "<u4": number_types.Uint32Flags,
    "<i8": number_types.Int64Flags,
    "<u8": number_types.Uint64Flags,
    "<f4": number_types.Float32Flags,
}
SPARE_BYTES = 1 << 20


class TableCopier:
    """Copies one model; tables, texts and vectors that are shared in it stay shared in the copy.

    Vectors that overlap could make the copy far larger than the file, so it may grow to twice the file's
    size and SPARE_BYTES, not more.
    """

    def __init__(self, graph: Graph, kept_buffers: frozenset[int]) -> None:
        self._graph, self._kept = graph, kept_buffers
        self._builder = flatbuffers.Builder(4096)
        self._copies: dict[tuple[str, int], int] = {}
        self._budget = 2 * graph.root.buffer.size + SPARE_BYTES

    def model(self) -> bytes:
        """Return a complete flatbuffer of the model, whose buffers are empty unless they are kept."""
        self._builder.Finish(self._table(self._graph.root), b"TFL3")
        return bytes(self._builder.Output())

    def _table(self, table: Table) -> int:
        key = (table.name, table.position)
        if key not in self._copies:
            fields = schema.fields(table.name).values()
            nested = {field.slot: self._nested(table, field) for field in fields}
            self._builder.StartObject(max(nested, default=-1) + 1)
            for field in fields:
                if field.kind is Kind.SCALAR:
                    self._builder.PrependSlot(
                        _FLAGS[field.dtype], field.slot, table.get(field.name), field.default
                    )
                elif nested[field.slot]:
                    self._builder.PrependUOffsetTRelativeSlot(field.slot, nested[field.slot], 0)
            self._copies[key] = self._builder.EndObject()
        return self._copies[key]

    def _nested(self, table: Table, field: Field) -> int:
        """Copy what a field points to and return where it is; 0 when there is nothing."""
        if (table.name, field.name) == ("Model", "buffers"):
            return self._buffers()
        if field.kind in (Kind.STRING, Kind.VECTOR):
            return self._vector(table, field)
        if field.kind is Kind.TABLES:
            return self._tables(table, field)
        if field.kind is Kind.SCALAR:
            return 0
        child = table.get(field.name) if field.kind is Kind.TABLE else table.union(field.name)
        return self._table(child) if child else 0

    def _vector(self, table: Table, field: Field) -> int:
        dtype = field.dtype or "|u1"
        width = int(dtype[2])
        start, length = table.vector(field, width)
        if not start:
            return 0
        key = (field.kind.name + dtype, start)
        if key not in self._copies:
            self._spend(length * width)
            values = table.buffer.view(dtype)[start : start + length * width : width]
            self._copies[key] = self._write(field, np.ascontiguousarray(values))
        return self._copies[key]

    def _write(self, field: Field, values: np.ndarray) -> int:
        if field.kind is Kind.STRING:
            return int(self._builder.CreateString(values.tobytes()))
        return int(self._builder.CreateNumpyVector(values))

    def _tables(self, table: Table, field: Field) -> int:
        start, length = table.vector(field, 4)
        if not start:
            return 0
        self._spend(4 * length)
        return self._offsets([self._table(child) for child in table.get(field.name)])

    def _offsets(self, targets: list[int]) -> int:
        self._builder.StartVector(4, len(targets), 4)
        for target in reversed(targets):
            self._builder.PrependUOffsetTRelative(target)
        return int(self._builder.EndVector())

    def _buffers(self) -> int:
        empty = self._buffer(b"")
        graph = self._graph
        kept = {index: self._buffer(bytes(graph.buffer(index))) for index in sorted(self._kept)}
        return self._offsets([kept.get(index, empty) for index in range(graph.buffers)])

    def _buffer(self, data: bytes) -> int:
        slots = schema.slots("Buffer")
        vector = self._builder.CreateByteVector(data) if data else 0
        self._builder.StartObject(max(slots.values()) + 1)
        if vector:
            self._builder.PrependUOffsetTRelativeSlot(slots["data"], vector, 0)
        return int(self._builder.EndObject())

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise InvalidModelError("the model's vectors overlap so much that it cannot be copied")
