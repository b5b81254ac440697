"""Writes .tflite files with any operator in them, straightforwardly, for tests of costs and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from ai_edge_litert import schema_py_generated as schema

from perfsage.graph import Graph, read_graph


@dataclass(frozen=True)
class T:
    """A tensor; `data` makes it constant (True: ones of the right size)."""

    shape: Sequence[int]
    type: str = "INT8"
    data: bytes | bool = False
    variable: bool = False
    signature: Sequence[int] | None = None
    quantized: bool = False
    scale: float = 0.5
    zero_point: int = 0


@dataclass(frozen=True)
class Op:
    """An operator over tensor indices, with the fields of its options (the schema's own spelling)."""

    type: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: str | None = None


@dataclass(frozen=True)
class Part:
    """A subgraph."""

    tensors: Sequence[T]
    operators: Sequence[Op]
    inputs: Sequence[int] = ()
    outputs: Sequence[int] = ()


def model_bytes(parts: Sequence[Part], metadata: Mapping[str, bytes] | None = None) -> bytes:
    """Return the file with these subgraphs."""
    model = schema.ModelT()
    model.version = 3
    model.buffers, model.operatorCodes = [_buffer(b"")], []
    model.subgraphs = [_subgraph(model, part) for part in parts]
    for name, data in (metadata or {}).items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.metadata = [*(model.metadata or []), entry]
        model.buffers.append(_buffer(data))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def one_operator(type_: str, inputs: Sequence[T | None], outputs: Sequence[T], **options: Any) -> Graph:
    """Return a graph of one operator; None leaves an input out."""
    present = [tensor for tensor in inputs if tensor is not None]
    slots = iter(range(len(present)))
    used = [-1 if tensor is None else next(slots) for tensor in inputs]
    made = list(range(len(present), len(present) + len(outputs)))
    operator = Op(type_, used, made, options, custom="Mystery" if type_ == "CUSTOM" else None)
    given = [i for i, tensor in enumerate(present) if not (tensor.data or tensor.variable)]
    return read_graph(model_bytes([Part([*present, *outputs], [operator], given, made)]))


def _buffer(data: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if data else None
    return buffer


def _subgraph(model: Any, part: Part) -> Any:
    made = schema.SubGraphT()
    made.tensors = [_tensor(model, tensor, i) for i, tensor in enumerate(part.tensors)]
    made.operators = [_operator(model, operator) for operator in part.operators]
    made.inputs, made.outputs = list(part.inputs), list(part.outputs)
    return made


def _tensor(model: Any, tensor: T, index: int) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.type = (
        f"t{index}",
        list(tensor.shape),
        getattr(tflite.TensorType, tensor.type),
    )
    made.isVariable = tensor.variable
    made.shapeSignature = None if tensor.signature is None else list(tensor.signature)
    if tensor.quantized:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [tensor.scale], [tensor.zero_point]
    if tensor.data:
        data = (
            tensor.data if isinstance(tensor.data, bytes) else b"\1" * 8 * max(1, int(np.prod(tensor.shape)))
        )
        made.buffer = len(model.buffers)
        model.buffers.append(_buffer(data))
    return made


def _operator(model: Any, operator: Op) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(tflite.BuiltinOperator, operator.type)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode, code.version = operator.custom, 1
    model.operatorCodes.append(code)
    made = schema.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = list(operator.inputs), list(operator.outputs)
    _options(made, dict(operator.options))
    return made


def _options(made: Any, options: dict[str, Any]) -> None:
    table = options.pop("table", None)
    if table is None:
        return
    first = hasattr(schema.BuiltinOptions, table)
    union = schema.BuiltinOptions if first else schema.BuiltinOptions2
    value = getattr(schema, f"{table}T")()
    for name, item in options.items():
        assert hasattr(value, name), f"{table} has no field {name}"
        setattr(value, name, item)
    prefix = "builtinOptions" if first else "builtinOptions2"
    setattr(made, f"{prefix}Type", getattr(union, table))
    setattr(made, prefix, value)
