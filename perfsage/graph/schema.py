"""The TFLite schema as data, derived from the `tflite` package's own accessors.

Each accessor of the package is called once on a probe that notes which slot it asks for, which type it
reads and what it returns when the field is absent. Nothing of the schema is written by hand here, so a
newer package brings newer operators, options and fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np
import tflite

UNION_SIZE = 256
"""Keys below are members of `BuiltinOptions`; keys from here on are members of `BuiltinOptions2`."""

OPERATORS: Mapping[int, str] = MappingProxyType(dict(tflite.BUILTIN_OPCODE2NAME))
CUSTOM: int = tflite.BuiltinOperator.CUSTOM


class Kind(IntEnum):
    """What a field of a table holds."""

    SCALAR = 0
    STRING = 1
    VECTOR = 2
    TABLE = 3
    TABLES = 4
    UNION = 5


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a flatbuffer table: `dtype` is a numpy type code, `table` the class of a nested table."""

    name: str
    slot: int
    kind: Kind
    dtype: str
    default: Any
    table: str | None


class _Probe:
    """Stands in for `flatbuffers.table.Table` and remembers what an accessor does with it first.

    An accessor may fall back on another field (`BuiltinCode` does), so later requests do not count.
    """

    Pos = 0
    Bytes = b""

    def __init__(self, *, present: bool) -> None:
        self.present = present
        self.slot = -1
        self.kind = Kind.SCALAR
        self.dtype = ""

    def Offset(self, vtable_offset: int) -> int:
        if self.slot < 0:
            self.slot = (vtable_offset - 4) // 2
        return 4 if self.present else 0

    def Get(self, flags: Any, _position: int) -> Any:
        self.dtype = self.dtype or _type_code(flags)
        return flags.py_type(0)

    def String(self, _position: int) -> bytes:
        self.kind = Kind.STRING
        return b""

    def Vector(self, _offset: int) -> int:
        self.kind = Kind.VECTOR
        return 0

    def Indirect(self, _position: int) -> int:
        self.kind = Kind.TABLES if self.kind is Kind.VECTOR else Kind.TABLE
        return 0

    def Union(self, _table: object, _offset: int) -> None:
        self.kind = Kind.UNION


def _type_code(flags: Any) -> str:
    name = flags.__name__.removesuffix("Flags").lower()
    code: str = np.dtype(name).newbyteorder("<").str
    return code


def _call(table_class: type, accessor: FunctionType, *, present: bool) -> tuple[_Probe, Any]:
    probe = _Probe(present=present)
    instance = table_class()
    instance._tab = probe
    arguments = (0,) * (accessor.__code__.co_argcount - 1)
    return probe, accessor(instance, *arguments)


def _accessors(table_class: type) -> Mapping[str, FunctionType]:
    members = {name: item for name, item in vars(table_class).items() if isinstance(item, FunctionType)}
    derived = {stem + suffix for stem in members for suffix in ("AsNumpy", "Length", "IsNone")}
    return {name: item for name, item in members.items() if name != "Init" and name not in derived}


def _field(table_class: type, name: str, accessor: FunctionType) -> Field:
    probe, value = _call(table_class, accessor, present=True)
    _, default = _call(table_class, accessor, present=False)
    nested = type(value).__name__ if probe.kind in (Kind.TABLE, Kind.TABLES) else None
    simple = default if probe.kind is Kind.SCALAR else None
    return Field(snake_case(name), probe.slot, probe.kind, probe.dtype, simple, nested)


def snake_case(name: str) -> str:
    """Return `stride_w` for `StrideW`: the schema's own spelling of a field."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@cache
def fields(table: str) -> Mapping[str, Field]:
    """Return the fields of the table class called `table` by name, in slot order."""
    table_class = getattr(tflite, table)
    found = [_field(table_class, name, item) for name, item in _accessors(table_class).items()]
    return MappingProxyType({field.name: field for field in sorted(found, key=lambda field: field.slot)})


@cache
def slots(table: str) -> Mapping[str, int]:
    """Return the slot of each field of `table`."""
    return MappingProxyType({name: field.slot for name, field in fields(table).items()})


@cache
def members(enumeration: str) -> Mapping[int, str]:
    """Return the names of the enumeration called `enumeration` by value."""
    items = vars(getattr(tflite, enumeration)).items()
    return MappingProxyType({value: name for name, value in items if isinstance(value, int)})


_UNIONS = {
    "builtin_options": "BuiltinOptions",
    "builtin_options2": "BuiltinOptions2",
    "details": "QuantizationDetails",
    "array_segments": "SparseIndexVector",
    "array_indices": "SparseIndexVector",
}


@cache
def union_tables(field: str) -> Mapping[int, str]:
    """Return the table class of each kind of the union in the field called `field`."""
    return MappingProxyType({value: name for value, name in members(_UNIONS[field]).items() if value})


@cache
def options_tables() -> Mapping[int, str]:
    """Return the options table of each union key: `BuiltinOptions` as it is, `BuiltinOptions2` from 256."""
    later = {UNION_SIZE + key: name for key, name in union_tables("builtin_options2").items()}
    return MappingProxyType(dict(union_tables("builtin_options")) | later)


@cache
def type_bits() -> np.ndarray:
    """Return the bits of one element by TensorType value (256 entries); -1 where a type has no fixed size.

    The width is the number at the end of a type's name; a BOOL is stored in 8 bits and a RESOURCE is a
    32-bit handle.
    """
    bits = np.full(256, -1, np.int64)
    for value, name in members("TensorType").items():
        width = re.search(r"\d+$", name)
        bits[value] = int(width.group()) if width else {"BOOL": 8, "RESOURCE": 32}.get(name, -1)
    return bits


def operator_name(code: int) -> str:
    """Return the name of a builtin operator; one that the package does not know is BUILTIN_<code>."""
    return OPERATORS.get(code) or f"BUILTIN_{code}"


def type_name(value: int) -> str:
    """Return the name of a tensor type; one that the package does not know is TYPE_<value>."""
    return members("TensorType").get(value) or f"TYPE_{value}"
