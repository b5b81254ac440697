"""A TFLite model as an immutable graph: columns for speed, views for people.

Each subgraph stores its operators and tensors as numpy columns (one row each), which costs, features and
ids read directly. `Subgraph.operators` and `Subgraph.tensors` are sequences of small frozen objects that
look into the columns when somebody asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar, overload

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph import schema
from perfsage.graph.columns import Columns
from perfsage.graph.flatbuffer import Array, FlatBuffer
from perfsage.graph.ids import graph_id
from perfsage.graph.table import Table
from perfsage.graph.views import Operator, Signature, Tensor
from perfsage.graph.weightless import Weightless

View = TypeVar("View")


class Views(Sequence[View]):
    """A sequence of views, each made when it is looked at."""

    __slots__ = ("_count", "_make")

    def __init__(self, count: int, make: Callable[[int], View]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> View: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[View, ...]: ...
    def __getitem__(self, index: int | slice) -> View | tuple[View, ...]:
        if isinstance(index, slice):
            return tuple(self._make(i) for i in range(*index.indices(self._count)))
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._make(index % self._count)


class Subgraph:
    """One subgraph: the main one is number 0, the others are called by control flow.

    `inputs` and `outputs` are tensor indices; `table` is the flatbuffer table, for what is not shown.
    """

    def __init__(
        self, index: int, table: Table, inputs: tuple[int, ...], outputs: tuple[int, ...], columns: Columns
    ) -> None:
        self.index, self.table, self.columns = index, table, columns
        self.inputs, self.outputs = inputs or (), outputs or ()

    @cached_property
    def name(self) -> str:
        """The subgraph's name, often empty."""
        return self.table.get("name") or ""

    @property
    def spans(self) -> tuple[Array, Array]:
        """For each tensor, the row of the first operator that can use it, and the one behind the last."""
        tensors = len(self.columns.tensor_type)
        return np.zeros(tensors, np.int64), np.full(tensors, len(self.columns.operator_type))

    @property
    def operator_starts(self) -> Array:
        """Where the operators of each subgraph that was joined begin, and where the last ones end."""
        return np.array([0, len(self.columns.operator_type)])

    def begins(self, rows: Array) -> Array:
        """Return where the operators begin of the subgraph that was joined and holds each of `rows`."""
        starts = self.operator_starts
        return np.asarray(starts[np.searchsorted(starts, rows, "right") - 1])

    def part(self, row: int) -> tuple[Subgraph, int]:
        """Return the subgraph whose operators and tensors can be looked at, and the row of `row` there."""
        return self, row

    @property
    def operators(self) -> Views[Operator]:
        """The operators in the order in which they run."""
        return Views(len(self.columns.operator_type), lambda i: Operator(self.columns, self.index, i))

    @property
    def tensors(self) -> Views[Tensor]:
        """The tensors by index."""
        return Views(len(self.columns.tensor_type), lambda i: Tensor(self.columns, self.index, i))

    def __repr__(self) -> str:
        return f"Subgraph({self.index}, {len(self.operators)} operators, {len(self.tensors)} tensors)"


class Graph:
    """A model read by `read_graph`; nothing of it changes."""

    def __init__(
        self,
        buffer: FlatBuffer,
        root: Table,
        subgraphs: tuple[Subgraph, ...],
        buffers: Array,
        weightless: Weightless | None = None,
    ) -> None:
        self._buffer, self._root, self._buffers, self._weightless = buffer, root, buffers, weightless
        self.subgraphs = subgraphs
        self.file_bytes = weightless.file_bytes if weightless else buffer.size

    @property
    def has_weights(self) -> bool:
        """Whether the constants' data is there: False for a graph read from a weightless structure."""
        return self._weightless is None

    @property
    def root(self) -> Table:
        """The flatbuffer's root table, for whatever the graph does not show."""
        return self._root

    @cached_property
    def model_id(self) -> str:
        """The sha256 of the original file's bytes, in hex."""
        if self._weightless:
            return self._weightless.model_id
        return hashlib.sha256(self._buffer.data).hexdigest()

    @cached_property
    def graph_id(self) -> str:
        """The sha256 of the structure, in hex: the same for the same network with other weights."""
        return graph_id(self.subgraphs)

    @cached_property
    def version(self) -> int:
        """The version of the TFLite schema, 3 in every known file."""
        return int(self._root.get("version"))

    @cached_property
    def description(self) -> str:
        """What the converter wrote about the model."""
        return self._root.get("description") or ""

    @property
    def operators(self) -> Iterator[Operator]:
        """All operators, subgraph by subgraph, in file order."""
        return (operator for subgraph in self.subgraphs for operator in subgraph.operators)

    @cached_property
    def signatures(self) -> tuple[Signature, ...]:
        """The named entry points of the model."""
        tables = self._root.get("signature_defs")
        fields = [schema.fields("SignatureDef")[name] for name in ("inputs", "outputs")]
        total = sum(table.vector(field, 4)[1] for table in tables for field in fields)
        self._buffer.check_total(total, "the signatures", self._root.position)
        return tuple(Signature.read(table, self.subgraphs) for table in tables)

    @cached_property
    def metadata(self) -> Mapping[str, int]:
        """The buffer index of each named piece of metadata."""
        found = {table.get("name") or "": int(table.get("buffer")) for table in self._root.get("metadata")}
        for name, index in found.items():
            if index >= len(self._buffers):
                raise InvalidModelError(
                    f"metadata {name!r} has buffer {index} of {len(self._buffers)}",
                    offset=self._root.position,
                )
        return MappingProxyType(found)

    @property
    def buffers(self) -> int:
        """The number of buffers."""
        return len(self._buffers)

    def buffer_bytes(self, index: int) -> int:
        """Return the size of a buffer in the original file, also where its data was stripped."""
        return int(self._buffers[index, 1])

    def buffer_place(self, index: int) -> tuple[int, int]:
        """Return where a buffer's data begins in the file, and its bytes; the start is -1 where stripped."""
        start, count = self._buffers[index].tolist()
        return start, count

    def buffer(self, index: int) -> memoryview:
        """Return the bytes of a buffer, read-only; empty when it has none or they were stripped."""
        if not 0 <= index < len(self._buffers):
            raise IndexError(index)
        start, count = self._buffers[index].tolist()
        return self._buffer.data[start : start + count] if start >= 0 else memoryview(b"")

    def __repr__(self) -> str:
        return f"Graph({self.file_bytes} bytes, {list(self.subgraphs)})"
