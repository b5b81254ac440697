"""Operators, tensors and signatures as small frozen objects over the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from perfsage.errors import InvalidModelError
from perfsage.graph import schema
from perfsage.graph.columns import Columns
from perfsage.graph.options import AttributeValue
from perfsage.graph.statistics import TensorStatistics
from perfsage.graph.table import Table

if TYPE_CHECKING:
    from perfsage.graph.graph import Subgraph


class _View:
    """A row of the columns; equal to another view of the same row."""

    __slots__ = ("columns", "index", "subgraph")
    columns: Columns
    subgraph: int
    index: int

    def __init__(self, columns: Columns, subgraph: int, index: int) -> None:
        for name, value in (("columns", columns), ("subgraph", subgraph), ("index", index)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, _value: Any) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: a graph does not change")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.columns is other.columns and self.index == other.index

    def __hash__(self) -> int:
        return hash((type(self), id(self.columns), self.index))


class Operator(_View):
    """One operator, identified by (subgraph, index)."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The operator's name in the schema (`CONV_2D`), or a custom operator's own code."""
        code = self.columns.operator_custom_code[self.columns.operator_opcode[self.index]]
        return code or schema.operator_name(int(self.columns.operator_type[self.index]))

    @property
    def is_custom(self) -> bool:
        """Whether the operator is no builtin one."""
        return int(self.columns.operator_type[self.index]) == schema.CUSTOM

    @property
    def version(self) -> int:
        """The version of the operator that the file asks for."""
        return int(self.columns.operator_version[self.index])

    @property
    def inputs(self) -> tuple[int, ...]:
        """Tensor indices; -1 stands for an optional input that is left out."""
        return tuple(self.columns.operator_inputs[self.index].tolist())

    @property
    def outputs(self) -> tuple[int, ...]:
        """Tensor indices."""
        return tuple(self.columns.operator_outputs[self.index].tolist())

    @property
    def intermediates(self) -> tuple[int, ...]:
        """Tensor indices of intermediate results, which only recurrent operators have."""
        return tuple(self.columns.operator_intermediates[self.index].tolist())

    @property
    def mutating_variable_inputs(self) -> tuple[bool, ...]:
        """Which inputs the operator changes; empty when the file does not say."""
        return self.columns.operator_table(self.index).get("mutating_variable_inputs") or ()

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """The options by their names in the schema; enumerations as numbers, vectors as tuples."""
        return self.columns.options.attributes(self.index)

    @property
    def custom_options(self) -> bytes:
        """The raw options of a custom operator, inside the flatbuffer or behind it."""
        return self.columns.options.custom(self.index)

    def __repr__(self) -> str:
        return f"Operator({self.subgraph}.{self.index} {self.type} {self.inputs} -> {self.outputs})"


@dataclass(frozen=True, slots=True)
class Quantization:
    """Affine quantization: real = scale * (quantized - zero_point), per tensor or along `dimension`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dimension: int
    min: tuple[float, ...] = ()
    max: tuple[float, ...] = ()


class Tensor(_View):
    """One tensor, identified by (subgraph, index)."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The tensor's name; bytes that are not UTF-8 are replaced."""
        return self.columns.tensor_table(self.index).get("name") or ""

    @property
    def type(self) -> str:
        """The element type, such as `INT8`."""
        return schema.type_name(int(self.columns.tensor_type[self.index]))

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes that the file states."""
        return tuple(self.columns.tensor_shape[self.index].tolist())

    @property
    def shape_signature(self) -> tuple[int, ...]:
        """The sizes with -1 for those only known at run time; empty when the file has none."""
        return tuple(self.columns.tensor_signature[self.index].tolist())

    @property
    def is_dynamic(self) -> bool:
        """Whether any size is only known at run time."""
        return -1 in self.shape_signature

    @property
    def buffer(self) -> int:
        """The index of the tensor's buffer."""
        return int(self.columns.tensor_buffer[self.index])

    @property
    def is_constant(self) -> bool:
        """Whether the file holds the tensor's data."""
        return bool(self.columns.tensor_is_constant[self.index])

    @property
    def is_variable(self) -> bool:
        """Whether the tensor keeps its data between inferences."""
        return bool(self.columns.tensor_is_variable[self.index])

    @property
    def has_rank(self) -> bool:
        """Whether the file says that the rank is known; files from older converters never do."""
        return bool(self.columns.tensor_table(self.index).get("has_rank"))

    @property
    def bytes(self) -> int | None:
        """The size of the data; None where an element has no fixed size (strings, variants)."""
        size = int(self.columns.tensor_bytes[self.index])
        return None if size < 0 else size

    @property
    def quantization(self) -> Quantization | None:
        """The quantization, or None when the tensor has no scale."""
        table = self.columns.tensor_table(self.index).get("quantization")
        if table is None or not table.get("scale"):
            return None
        empty: tuple[Any, ...] = ()
        values = {name: table.get(name) or empty for name in ("scale", "zero_point", "min", "max")}
        return Quantization(dimension=table.get("quantized_dimension"), **values)

    def statistics(self) -> TensorStatistics | None:
        """Return statistics of the constant data, or None when it has none."""
        return self.columns.tensor_statistics.row(self.index)

    def __repr__(self) -> str:
        return f"Tensor({self.subgraph}.{self.index} {self.type}{list(self.shape)} {self.name!r})"


@dataclass(frozen=True, slots=True)
class Signature:
    """A named entry point: tensor indices of `subgraph` by the names that callers use."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    @classmethod
    def read(cls, table: Table, subgraphs: Sequence[Subgraph]) -> Signature:
        """Return the signature in `table`, whose subgraph and tensors must exist."""
        index = int(table.get("subgraph_index"))
        if index >= len(subgraphs):
            raise InvalidModelError(
                f"a signature names subgraph {index} of {len(subgraphs)}", offset=table.position
            )
        tensors = len(subgraphs[index].tensors)
        inputs, outputs = (_tensor_map(table, name, tensors) for name in ("inputs", "outputs"))
        return cls(table.get("signature_key") or "", index, inputs, outputs)


def _tensor_map(table: Table, name: str, tensors: int) -> Mapping[str, int]:
    found = {entry.get("name") or "": int(entry.get("tensor_index")) for entry in table.get(name)}
    if found and max(found.values()) >= tensors:
        raise InvalidModelError(
            f"a signature's {name} lie outside the {tensors} tensors of its subgraph", offset=table.position
        )
    return MappingProxyType(found)
