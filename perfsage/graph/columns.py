"""The columns of a subgraph: one row per operator or tensor, the hot path of features and costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perfsage.graph import schema
from perfsage.graph.flatbuffer import Array, FlatBuffer
from perfsage.graph.options import OptionTables
from perfsage.graph.ragged import Ragged, read_ragged
from perfsage.graph.statistics import ColumnStatistics, column_statistics, statistics_of
from perfsage.graph.table import Table

_SOME = "some_statistics"
"""What columns keep the statistics of some tensors under."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Columns:
    """Everything about a subgraph's operators [n_operators] and tensors [n_tensors] as read-only arrays.

    `operator_type` holds `tflite.BuiltinOperator` values (CUSTOM = 32), `operator_opcode` rows of
    `operator_custom_code`; inputs, outputs and intermediates are tensor indices (-1: left out).
    `tensor_shape` are the sizes that the file states: those that a runtime takes unless somebody resizes
    an input, also where `tensor_signature` says -1. `tensor_elements` is the product of a shape (1 for
    scalars); `tensor_bytes` is -1 where an element has no fixed size (strings, variants, unknown types),
    and counts packed elements for types below 8 bits. A tensor is constant when its buffer has bytes.
    """

    buffer: FlatBuffer
    operator_type: Array
    operator_opcode: Array
    operator_custom_code: tuple[str | None, ...]
    operator_version: Array
    operator_inputs: Ragged
    operator_outputs: Ragged
    operator_intermediates: Ragged
    operator_position: Array
    operator_fields: Array
    tensor_shape: Ragged
    tensor_type: Array
    tensor_buffer: Array
    tensor_elements: Array
    tensor_bytes: Array
    tensor_is_constant: Array
    tensor_is_variable: Array
    tensor_constant_start: Array
    tensor_constant_bytes: Array
    tensor_position: Array
    tensor_fields: Array
    known_statistics: ColumnStatistics | None = None

    @cached_property
    def options(self) -> OptionTables:
        """The options tables of all operators."""
        return OptionTables(self.buffer, self.operator_position, self.operator_fields)

    def attribute(self, name: str, default: int | float = 0) -> Array:
        """Return one scalar option over all operators: int64, or float64 for fractions.

        `default` stands where an operator has no such option; the schema's own default where its table
        leaves the option out.
        """
        return self.options.column(name, default)

    @cached_property
    def tensor_signature(self) -> Ragged:
        """The shape signatures: -1 for a size that is only known at run time; empty where there is none."""
        fields = self.tensor_fields[:, schema.slots("Tensor")["shape_signature"]]
        return read_ragged(self.buffer, self.tensor_position, [fields], "a tensor's shape signature")[0]

    @cached_property
    def tensor_has_stale_signature(self) -> Array:
        """Whether a tensor's signature and its shape state different sizes, so that tools see either."""
        signature, shape = self.tensor_signature, self.tensor_shape
        stale = np.zeros(len(self.tensor_type), bool)
        rows = np.flatnonzero((signature.lengths > 0) & (signature.lengths == shape.lengths))
        if len(rows):
            stated = signature.take(rows)
            differs = (stated.values >= 0) & (stated.values != shape.take(rows).values)
            stale[rows[stated.row_indices[differs]]] = True
        return stale

    @cached_property
    def signature_elements(self) -> Array:
        """How many elements each tensor has by its signature, finite float64; by its shape unless stale."""
        made = self.tensor_elements.astype(np.float64)
        rows = np.flatnonzero(self.tensor_has_stale_signature)
        if len(rows):
            stated, shape = self.tensor_signature.take(rows), self.tensor_shape.take(rows)
            sizes = np.where(stated.values < 0, shape.values, stated.values).astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                made[rows] = np.nan_to_num(np.multiply.reduceat(sizes, stated.offsets[:-1]))
        return made

    @cached_property
    def tensor_quantization(self) -> Array:
        """How many scales and how many zero points each tensor has, int64[2, tensors]."""
        offsets = self.tensor_fields[:, schema.slots("Tensor")["quantization"]]
        made = np.zeros((2, len(self.tensor_type)), np.int64)
        rows, what = np.flatnonzero(offsets), "a tensor's quantization"
        if len(rows):
            where = self.tensor_position[rows] + offsets[rows]
            tables = where + self.buffer.at(self.buffer.u4, where, what)
            slots = schema.slots("QuantizationParameters")
            fields = self.buffer.fields(tables, len(slots), what)
            made[0, rows] = self.buffer.vectors(tables, fields[:, slots["scale"]], 4, what)[1]
            made[1, rows] = self.buffer.vectors(tables, fields[:, slots["zero_point"]], 8, what)[1]
        return made

    @cached_property
    def tensor_is_quantized(self) -> Array:
        """Whether each tensor has both a scale and a zero point."""
        return np.asarray((self.tensor_quantization > 0).all(axis=0))

    @cached_property
    def tensor_is_dynamic(self) -> Array:
        """Whether any size of a tensor is only known at run time."""
        negative = np.flatnonzero(self.tensor_signature.values < 0)
        dynamic = np.zeros(len(self.tensor_type), bool)
        dynamic[np.searchsorted(self.tensor_signature.offsets, negative, "right") - 1] = True
        return dynamic

    @cached_property
    def tensor_statistics(self) -> ColumnStatistics:
        """Statistics of the constant tensors."""
        return self.known_statistics or column_statistics(self)

    @property
    def pieces(self) -> tuple[Columns, ...]:
        """The columns of each subgraph that these were joined from: of one, its own."""
        return (self,)

    @property
    def read_statistics(self) -> ColumnStatistics:
        """The statistics as far as they are known by now."""
        if self.has_statistics:
            return self.tensor_statistics
        if _SOME not in self.__dict__:
            nothing = np.zeros(len(self.tensor_type), np.bool_)
            self.keep_some_statistics(statistics_of([self], [nothing])[0], nothing)
        found: ColumnStatistics = self.__dict__[_SOME][0]
        return found

    def unread(self, wanted: Array) -> Array:
        """Return which `wanted` bool[tensors] have not been looked at yet, bool[tensors]."""
        if self.has_statistics:
            return np.zeros_like(wanted)
        return wanted & ~self.__dict__[_SOME][1] if _SOME in self.__dict__ else wanted

    def keep_some_statistics(self, statistics: ColumnStatistics, tensors: Array) -> None:
        """Keep the statistics of some `tensors` bool[tensors], beside those that are kept already."""
        if _SOME in self.__dict__:
            before, read = self.__dict__[_SOME]
            merged = (np.where(tensors, new, old) for new, old in zip(statistics, before, strict=True))
            statistics, tensors = ColumnStatistics(*merged), tensors | read
        self.__dict__[_SOME] = statistics, tensors

    @property
    def has_statistics(self) -> bool:
        """Whether the statistics are known without reading the weights (again)."""
        return self.known_statistics is not None or "tensor_statistics" in self.__dict__

    def keep_statistics(self, statistics: ColumnStatistics) -> None:
        """Keep the statistics that were worked out with those of other subgraphs."""
        self.__dict__["tensor_statistics"] = statistics

    def constant(self, index: int) -> memoryview:
        """Return a constant tensor's data as stored; empty when it is not constant or was stripped."""
        start = int(self.tensor_constant_start[index])
        if start < 0:
            return memoryview(b"")
        return self.buffer.data[start : start + int(self.tensor_constant_bytes[index])]

    def quantization_lengths(self, index: int) -> tuple[int, int]:
        """Return how many scales and how many zero points a tensor has."""
        # All of them are read together where features are made, in less time than a few one by one.
        if "tensor_quantization" in self.__dict__:
            scales, zeros = self.tensor_quantization[:, index].tolist()
            return scales, zeros
        table = self.tensor_table(index).get("quantization")
        if table is None:
            return 0, 0
        fields = schema.fields(table.name)
        return table.vector(fields["scale"], 4)[1], table.vector(fields["zero_point"], 8)[1]

    def tensor_table(self, index: int) -> Table:
        """Return the flatbuffer table of a tensor, for what the columns do not hold."""
        return Table(self.buffer, "Tensor", int(self.tensor_position[index]))

    def operator_table(self, index: int) -> Table:
        """Return the flatbuffer table of an operator, for what the columns do not hold."""
        return Table(self.buffer, "Operator", int(self.operator_position[index]))
