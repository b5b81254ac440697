"""Write a model as a .tflite flatbuffer in one forward pass.

Several times faster than flatbuffers.Builder (`benchmarks/datasets.py`): tables of one kind share a vtable
and are packed by one struct, and quantization and options tables are cached as relocatable bytes.
Format: https://flatbuffers.dev/internals/; buffers are aligned to 16 bytes as TFLite's schema demands.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tflite
from numpy.typing import NDArray

from dataset.builder.tables import Layout, layout, standalone

_TENSOR = layout("Tensor", "Shape", "Type", "Buffer", "Name", "Quantization", "IsVariable")
_PLAIN_TENSOR = layout("Tensor", "Shape", "Type", "Buffer", "Name", "IsVariable")
_OPERATOR = layout("Operator", "OpcodeIndex", "Inputs", "Outputs", "BuiltinOptionsType", "BuiltinOptions")
_PLAIN_OPERATOR = layout("Operator", "OpcodeIndex", "Inputs", "Outputs")
_RECURRENT_OPERATOR = layout(
    "Operator", "OpcodeIndex", "Inputs", "Outputs", "BuiltinOptionsType", "BuiltinOptions", "Intermediates"
)
_OPCODE = layout("OperatorCode", "DeprecatedBuiltinCode", "Version", "BuiltinCode")
_BUFFER = layout("Buffer", "Data")
_EMPTY_BUFFER = layout("Buffer")
_QUANTIZATION = layout("QuantizationParameters", "Scale", "ZeroPoint", "QuantizedDimension")
_SUBGRAPH = layout("SubGraph", "Tensors", "Inputs", "Outputs", "Operators", "Name")
_MODEL = layout("Model", "Version", "OperatorCodes", "Subgraphs", "Description", "Buffers")
_PLACEHOLDER_BUILTIN_CODE = tflite.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
_SCHEMA_VERSION = 3


@dataclass(slots=True, eq=False)
class Tensor:
    """A tensor of the network being built, and the handle by which operators refer to it.

    Not frozen: concatenation gives its inputs one quantization after the fact, as converters do.

    `scale` is empty for tensors without quantization, and has one value a channel along `axis` for
    per-channel weights. `buffer` 0 means no constant data.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    type: int
    scale: NDArray[np.float32]
    zero_point: int = 0
    axis: int = 0
    buffer: int = 0
    is_variable: bool = False


@dataclass(frozen=True, slots=True)
class OperatorRecord:
    """An operator to write: builtin code and version, tensors by index (-1: left out), options."""

    code: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_table: str = ""
    options: tuple[tuple[str, int | float | bool], ...] = ()
    intermediates: tuple[int, ...] = ()


class _Writer:
    """Appends blobs at aligned positions and fills in offsets to them later."""

    def __init__(self) -> None:
        self.out = bytearray(b"\0\0\0\0TFL3")

    def put(self, blob: bytes | memoryview, align: int = 4) -> int:
        """Append and return the position."""
        out = self.out
        gap = -len(out) % align
        if gap:
            out += bytes(gap)
        position = len(out)
        out += blob
        return position

    def point(self, at: int, to: int) -> None:
        """Store at `at` the forward offset to `to`."""
        struct.pack_into("<I", self.out, at, to - at)

    def integers(self, values: Sequence[int]) -> int:
        """Append a vector of int32."""
        return self.put(struct.pack(f"<I{len(values)}i", len(values), *values))

    def text(self, value: str) -> int:
        """Append a string."""
        raw = value.encode()
        return self.put(struct.pack("<I", len(raw)) + raw + b"\0")

    def vector(self, count: int) -> int:
        """Append a vector of `count` offsets, to be filled in by `entry`."""
        return self.put(struct.pack("<I", count) + bytes(4 * count))

    def entry(self, vector: int, row: int, to: int) -> None:
        """Let the vector's entry `row` refer to `to`."""
        self.point(vector + 4 + 4 * row, to)


def serialize(
    tensors: Sequence[Tensor],
    operators: Sequence[OperatorRecord],
    buffers: Sequence[bytes | memoryview],
    inputs: Sequence[int],
    outputs: Sequence[int],
    description: str,
) -> bytes:
    """Return the bytes of a model with one subgraph; `buffers[0]` must be empty."""
    writer = _Writer()
    model_vtable = writer.put(_MODEL.vtable)
    model = writer.put(bytes(_MODEL.packer.size))
    writer.out[model : model + _MODEL.packer.size] = _MODEL.pack(
        model - model_vtable, (_SCHEMA_VERSION, 0, 0, 0, 0)
    )
    writer.point(0, model)
    fields = dict(
        zip(("version", "codes", "subgraphs", "description", "buffers"), _MODEL.offsets, strict=True)
    )
    codes = list(dict.fromkeys((operator.code, operator.version) for operator in operators))
    writer.point(model + fields["codes"], _write_codes(writer, codes))
    writer.point(model + fields["description"], writer.text(description))
    subgraphs = writer.vector(1)
    writer.point(model + fields["subgraphs"], subgraphs)
    writer.entry(subgraphs, 0, _write_subgraph(writer, tensors, operators, codes, inputs, outputs))
    writer.point(model + fields["buffers"], _write_buffers(writer, buffers))
    return bytes(writer.out)


def _write_codes(writer: _Writer, codes: Sequence[tuple[int, int]]) -> int:
    vector = writer.vector(len(codes))
    vtable = writer.put(_OPCODE.vtable)
    for row, (code, version) in enumerate(codes):
        position = writer.put(b"")
        values = (min(code, _PLACEHOLDER_BUILTIN_CODE), version, code)
        writer.entry(vector, row, writer.put(_OPCODE.pack(position - vtable, values)))
    return vector


def _write_subgraph(
    writer: _Writer,
    tensors: Sequence[Tensor],
    operators: Sequence[OperatorRecord],
    codes: Sequence[tuple[int, int]],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> int:
    vtable = writer.put(_SUBGRAPH.vtable)
    position = writer.put(b"")
    writer.put(_SUBGRAPH.pack(position - vtable, (0, 0, 0, 0, 0)))
    targets = (
        _write_tensors(writer, tensors),
        writer.integers(inputs),
        writer.integers(outputs),
        _write_operators(writer, operators, {code: row for row, code in enumerate(codes)}),
        writer.text("main"),
    )
    for offset, target in zip(_SUBGRAPH.offsets, targets, strict=True):
        writer.point(position + offset, target)
    return position


def _write_tensors(writer: _Writer, tensors: Sequence[Tensor]) -> int:
    vector = writer.vector(len(tensors))
    quantized, plain = writer.put(_TENSOR.vtable), writer.put(_PLAIN_TENSOR.vtable)
    tables = []
    for row, tensor in enumerate(tensors):
        position = writer.put(b"")
        common = (0, tensor.type, tensor.buffer, 0)
        if len(tensor.scale):
            table = _TENSOR.pack(position - quantized, (*common, 0, tensor.is_variable))
        else:
            table = _PLAIN_TENSOR.pack(position - plain, (*common, tensor.is_variable))
        tables.append(writer.put(table))
        writer.entry(vector, row, position)
    _write_tensor_details(writer, tensors, tables)
    return vector


def _write_tensor_details(writer: _Writer, tensors: Sequence[Tensor], tables: Sequence[int]) -> None:
    shapes: dict[tuple[int, ...], int] = {}
    quantizations: dict[tuple[bytes, int, int], int] = {}
    for tensor, table in zip(tensors, tables, strict=True):
        plan = _TENSOR if len(tensor.scale) else _PLAIN_TENSOR
        if tensor.shape not in shapes:
            shapes[tensor.shape] = writer.integers(tensor.shape)
        writer.point(table + plan.offsets[0], shapes[tensor.shape])
        writer.point(table + plan.offsets[3], writer.text(tensor.name))
        if len(tensor.scale):
            key = (tensor.scale.tobytes(), tensor.zero_point, tensor.axis)
            if key not in quantizations:
                blob, start = _quantization(*key)
                quantizations[key] = writer.put(blob, 8) + start
            writer.point(table + plan.offsets[4], quantizations[key])


@lru_cache(maxsize=512)
def _quantization(scales: bytes, zero_point: int, axis: int) -> tuple[bytes, int]:
    """Return a relocatable QuantizationParameters, 8-aligned for its int64 zero points, and its start."""
    count = len(scales) // 4
    start = -(-len(_QUANTIZATION.vtable) // 4) * 4
    scale_at = start + _QUANTIZATION.packer.size
    zero_at = scale_at + 4 + len(scales)
    zero_at += (4 - zero_at) % 8  # the length stands in the 4 bytes before the aligned data
    values = (
        scale_at - start - _QUANTIZATION.offsets[0],
        zero_at - start - _QUANTIZATION.offsets[1],
        axis,
    )
    head = _QUANTIZATION.vtable.ljust(start, b"\0") + _QUANTIZATION.pack(start, values)
    body = (head + struct.pack("<I", count) + scales).ljust(zero_at, b"\0")
    return body + struct.pack("<I", count) + struct.pack("<q", zero_point) * count, start


def _write_operators(
    writer: _Writer, operators: Sequence[OperatorRecord], codes: dict[tuple[int, int], int]
) -> int:
    vector = writer.vector(len(operators))
    vtables = {
        id(plan): writer.put(plan.vtable) for plan in (_OPERATOR, _PLAIN_OPERATOR, _RECURRENT_OPERATOR)
    }
    tables = []
    for row, operator in enumerate(operators):
        plan, kind = _operator_plan(operator)
        position = writer.put(b"")
        values = (codes[operator.code, operator.version], 0, 0, kind, 0, 0)
        tables.append(writer.put(plan.pack(position - vtables[id(plan)], values[: len(plan.offsets)])))
        writer.entry(vector, row, position)
    _write_operator_details(writer, operators, tables)
    return vector


def _write_operator_details(
    writer: _Writer, operators: Sequence[OperatorRecord], tables: Sequence[int]
) -> None:
    """Offsets only point forward, so that what operators share stands after all of their tables."""
    shared: dict[tuple[str, tuple[tuple[str, int | float | bool], ...]], int] = {}
    for operator, table in zip(operators, tables, strict=True):
        plan, kind = _operator_plan(operator)
        writer.point(table + plan.offsets[1], writer.integers(operator.inputs))
        writer.point(table + plan.offsets[2], writer.integers(operator.outputs))
        if kind:
            key = (operator.options_table, operator.options)
            if key not in shared:
                blob, start = standalone(*key)
                shared[key] = writer.put(blob) + start
            writer.point(table + plan.offsets[4], shared[key])
        if operator.intermediates:
            writer.point(table + plan.offsets[5], writer.integers(operator.intermediates))


def _operator_plan(operator: OperatorRecord) -> tuple[Layout, int]:
    if not operator.options_table:
        return _PLAIN_OPERATOR, 0
    kind: int = getattr(tflite.BuiltinOptions, operator.options_table)
    return (_RECURRENT_OPERATOR if operator.intermediates else _OPERATOR), kind


def _write_buffers(writer: _Writer, buffers: Sequence[bytes | memoryview]) -> int:
    vector = writer.vector(len(buffers))
    empty, full = writer.put(_EMPTY_BUFFER.vtable), writer.put(_BUFFER.vtable)
    tables = []
    for row, data in enumerate(buffers):
        position = writer.put(b"")
        plan, vtable = (_BUFFER, full) if len(data) else (_EMPTY_BUFFER, empty)
        tables.append(writer.put(plan.pack(position - vtable, (0,))))
        writer.entry(vector, row, position)
    for table, data in zip(tables, buffers, strict=True):
        if len(data):
            gap = (12 - len(writer.out)) % 16
            length = writer.put(bytes(gap) + struct.pack("<I", len(data)), 1) + gap
            writer.point(table + _BUFFER.offsets[0], length)
            writer.out += data
    return vector
