"""Parses TFLite's flatbuffer into a Graph: every table of a kind at once, checked before it is used."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph import schema
from perfsage.graph.columns import Columns
from perfsage.graph.flatbuffer import Array, FlatBuffer
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.ragged import Ragged, read_ragged
from perfsage.graph.statistics import ColumnStatistics
from perfsage.graph.table import Table
from perfsage.graph.weightless import Weightless
from perfsage.graph.wiring import check_calls, check_wiring

IDENTIFIER = b"TFL3"
MAX_SUBGRAPHS = 10_000
MAX_OPERATORS = 100_000
MAX_TENSORS = 250_000
MAX_BUFFERS = 500_000
MAX_OPERATOR_CODES = 10_000
MAX_ELEMENTS = 1 << 56


def parse(data: memoryview, weightless: Weightless | None = None) -> Graph:
    """Return the graph of a complete .tflite file, or of one whose weights are described by `weightless`."""
    buffer = FlatBuffer(data)
    root = _root(buffer)
    fields = schema.fields("Model")
    codes = _targets(root, fields["operator_codes"], MAX_OPERATOR_CODES)
    tables = [
        Table(buffer, "SubGraph", position)
        for position in _targets(root, fields["subgraphs"], MAX_SUBGRAPHS).tolist()
    ]
    if not tables:
        raise InvalidModelError("the model has no subgraph", offset=root.position)
    buffers = _buffers(buffer, _targets(root, fields["buffers"], MAX_BUFFERS))
    if weightless:
        weightless.complete(buffers)
    operators = _Operators.read(buffer, tables, codes)
    tensors = _Tensors.read(buffer, tables, buffers)
    statistics = weightless.statistics(tensors.bounds) if weightless else None
    subgraphs = _subgraphs(buffer, tables, operators, tensors, statistics)
    return Graph(buffer, root, subgraphs, buffers, weightless)


def _root(buffer: FlatBuffer) -> Table:
    if buffer.size < 8:
        raise InvalidModelError(f"a file of {buffer.size} bytes is too short for a model", offset=buffer.size)
    if bytes(buffer.data[4:8]) != IDENTIFIER:
        found = bytes(buffer.data[4:8])
        raise InvalidModelError(f"the file identifier is {found!r}, not {IDENTIFIER!r}", offset=4)
    return Table(buffer, "Model", int(buffer.u4[0]))


def _targets(table: Table, field: schema.Field, limit: int) -> Array:
    start, count = table.vector(field, 4)
    if count > limit:
        raise InvalidModelError(f"{count} {field.name} are declared; {limit} can be read", offset=start - 4)
    return table.buffer.targets(start, count)


def _concatenate(tables: list[Table], name: str, limit: int) -> tuple[Array, Array]:
    """Return the positions of the tables in one vector of every subgraph, and where each subgraph begins."""
    field = schema.fields("SubGraph")[name]
    vectors = [table.vector(field, 4) for table in tables]
    ends = np.cumsum([0] + [count for _, count in vectors])
    if ends[-1] > limit:
        raise InvalidModelError(
            f"{ends[-1]} {name} are declared; {limit} can be read", offset=vectors[0][0] - 4
        )
    parts = [tables[0].buffer.targets(*vector) for vector in vectors]
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)), ends


class _Operators(NamedTuple):
    """The operators of all subgraphs; those of subgraph s are rows bounds[s] to bounds[s + 1]."""

    bounds: Array
    position: Array
    fields: Array
    opcode: Array
    type: Array
    version: Array
    custom_code: tuple[str | None, ...]
    wires: tuple[Ragged, Ragged, Ragged]

    @classmethod
    def read(cls, buffer: FlatBuffer, subgraphs: list[Table], codes: Array) -> _Operators:
        """Read the operators of all subgraphs."""
        position, bounds = _concatenate(subgraphs, "operators", MAX_OPERATORS)
        slot = schema.slots("Operator")
        fields = buffer.fields(position, len(slot), "an operator")
        opcode = buffer.scalars(position, fields[:, slot["opcode_index"]], "<u4", 0, "an opcode index")
        types, versions, custom = _operator_codes(buffer, codes)
        if len(opcode) and opcode.max() >= len(codes):
            row = int(opcode.argmax())
            raise InvalidModelError(
                f"operator {row} has opcode {opcode[row]} of {len(codes)}", offset=int(position[row])
            )
        names = ("inputs", "outputs", "intermediates")
        wires = read_ragged(
            buffer, position, [fields[:, slot[name]] for name in names], "an operator's tensors"
        )
        inputs, outputs, intermediates = wires
        return cls(
            bounds,
            position,
            fields,
            opcode.astype(np.int32),
            types[opcode],
            versions[opcode],
            custom,
            (inputs, outputs, intermediates),
        )


def _operator_codes(buffer: FlatBuffer, codes: Array) -> tuple[Array, Array, tuple[str | None, ...]]:
    """Return (type, version, custom code) of each operator code.

    Files from before builtin codes above 127 have only the deprecated field, so the larger one counts.
    """
    slot = schema.slots("OperatorCode")
    fields = buffer.fields(codes, len(slot), "an operator code")
    old = buffer.scalars(codes, fields[:, slot["deprecated_builtin_code"]], "|i1", 0, "an operator code")
    new = buffer.scalars(codes, fields[:, slot["builtin_code"]], "<i4", 0, "an operator code")
    versions = buffer.scalars(codes, fields[:, slot["version"]], "<i4", 1, "an operator version")
    types = np.maximum(old, new)
    if len(types) and types.min() < 0:
        row = int(types.argmin())
        raise InvalidModelError(f"operator code {row} is {types[row]}", offset=int(codes[row]))
    custom: list[str | None] = [None] * len(codes)
    for row in np.flatnonzero(types == schema.CUSTOM).tolist():
        custom[row] = Table(buffer, "OperatorCode", int(codes[row])).get("custom_code")
    return types, versions, tuple(custom)


class _Tensors(NamedTuple):
    """The tensors of all subgraphs; those of subgraph s are rows bounds[s] to bounds[s + 1]."""

    bounds: Array
    position: Array
    fields: Array
    shape: Ragged
    type: Array
    buffer: Array
    elements: Array
    bytes: Array
    constant: Array
    is_variable: Array

    @classmethod
    def read(cls, buffer: FlatBuffer, subgraphs: list[Table], buffers: Array) -> _Tensors:
        """Read the tensors of all subgraphs."""
        position, bounds = _concatenate(subgraphs, "tensors", MAX_TENSORS)
        slot = schema.slots("Tensor")
        fields = buffer.fields(position, len(slot), "a tensor")
        (shape,) = read_ragged(buffer, position, [fields[:, slot["shape"]]], "a tensor's shape")
        types = buffer.scalars(position, fields[:, slot["type"]], "|u1", 0, "a tensor's type")
        index = buffer.scalars(position, fields[:, slot["buffer"]], "<u4", 0, "a tensor's buffer")
        variable = buffer.scalars(position, fields[:, slot["is_variable"]], "|b1", False, "a tensor")
        if len(index) and index.max() >= len(buffers):
            row = int(index.argmax())
            raise InvalidModelError(
                f"tensor {row} has buffer {index[row]} of {len(buffers)}", offset=int(position[row])
            )
        elements = _elements(shape, position)
        bits = schema.type_bits()[types]
        sizes = np.where(bits < 0, -1, (elements * bits + 7) >> 3)
        index = index.astype(np.int64)
        return cls(
            bounds,
            position,
            fields,
            Ragged(shape.values.astype(np.int64), shape.offsets),
            types,
            index,
            elements,
            sizes,
            buffers[index],
            variable,
        )


def _elements(shape: Ragged, position: Array) -> Array:
    """Return the number of elements of each shape, refusing negative sizes and absurd products."""
    values = shape.values
    if len(values) and values.min() < 0:
        row = shape.row_of(int(values.argmin()))
        raise InvalidModelError(f"tensor {row} has shape {shape[row].tolist()}", offset=int(position[row]))
    padded = np.append(values.astype(np.int64), 1)
    starts, empty = shape.offsets[:-1], shape.offsets[1:] == shape.offsets[:-1]
    elements = np.multiply.reduceat(padded, starts) if len(starts) else np.zeros(0, np.int64)
    elements[empty] = 1
    ranks = int((shape.offsets[1:] - starts).max(initial=0))
    if int(padded.max()) ** min(ranks, 64) > MAX_ELEMENTS:
        _check_products(shape, position)
    return elements


def _check_products(shape: Ragged, position: Array) -> None:
    padded = np.append(shape.values.astype(np.float64), 1)
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.multiply.reduceat(padded, shape.offsets[:-1])
    products[shape.lengths == 0] = 1
    absurd = np.flatnonzero(~(products <= MAX_ELEMENTS))
    if len(absurd):
        row = int(absurd[0])
        raise InvalidModelError(
            f"tensor {row} has too many elements: its shape is {shape[row][:16].tolist()}",
            offset=int(position[row]),
        )


def _buffers(buffer: FlatBuffer, tables: Array) -> Array:
    """Return (start, bytes) of each buffer's data, inside the flatbuffer or, in large files, behind it.

    An offset of 0 or 1 means that the data is not outside.
    """
    slot = schema.slots("Buffer")
    fields = buffer.fields(tables, len(slot), "a buffer")
    starts, lengths = buffer.vectors(tables, fields[:, slot["data"]], 1, "a buffer's data")
    found = np.stack([starts, lengths], axis=1)
    outside = np.flatnonzero(fields[:, slot["offset"]])
    if len(outside):
        _external(buffer, tables[outside], fields[outside], found, outside)
    return found


def _external(buffer: FlatBuffer, tables: Array, fields: Array, found: Array, rows: Array) -> None:
    slot = schema.slots("Buffer")
    offset = buffer.scalars(tables, fields[:, slot["offset"]], "<u8", 0, "a buffer's offset")
    count = buffer.scalars(tables, fields[:, slot["size"]], "<u8", 0, "a buffer's size")
    used = (offset > 1) & (count > 0) & (found[rows, 1] == 0)
    size = np.uint64(buffer.size)
    beyond = used & ((offset > size) | (count > size - np.minimum(offset, size)))
    if beyond.any():
        row = int(beyond.argmax())
        raise InvalidModelError(
            f"buffer {rows[row]} has {count[row]} bytes at {offset[row]}, outside the file of {size} bytes",
            offset=int(tables[row]),
        )
    found[rows[used], 0] = offset[used]
    found[rows[used], 1] = count[used]


def _subgraphs(
    buffer: FlatBuffer,
    tables: list[Table],
    operators: _Operators,
    tensors: _Tensors,
    statistics: list[ColumnStatistics] | None,
) -> tuple[Subgraph, ...]:
    fields = schema.fields("SubGraph")
    total = sum(table.vector(fields[name], 4)[1] for table in tables for name in ("inputs", "outputs"))
    buffer.check_total(total, "the inputs and outputs of subgraphs", tables[0].position)
    found = []
    for index, table in enumerate(tables):
        known = statistics[index] if statistics else None
        columns = _columns(buffer, operators, tensors, index, known)
        inputs, outputs = table.get("inputs"), table.get("outputs")
        check_wiring(index, columns, inputs, outputs, table.position)
        found.append(Subgraph(index, table, inputs, outputs, columns))
    check_calls([subgraph.columns for subgraph in found])
    return tuple(found)


def _columns(
    buffer: FlatBuffer, operators: _Operators, tensors: _Tensors, index: int, known: ColumnStatistics | None
) -> Columns:
    first, last = operators.bounds[index : index + 2].tolist()
    inputs, outputs, intermediates = (wire.rows(first, last) for wire in operators.wires)
    ops = slice(first, last)
    first, last = tensors.bounds[index : index + 2].tolist()
    rows = slice(first, last)
    constant = tensors.constant[rows]
    return Columns(
        buffer=buffer,
        operator_type=operators.type[ops],
        operator_opcode=operators.opcode[ops],
        operator_custom_code=operators.custom_code,
        operator_version=operators.version[ops],
        operator_inputs=inputs,
        operator_outputs=outputs,
        operator_intermediates=intermediates,
        operator_position=operators.position[ops],
        operator_fields=operators.fields[ops],
        tensor_shape=tensors.shape.rows(first, last),
        tensor_type=tensors.type[rows],
        tensor_buffer=tensors.buffer[rows],
        tensor_elements=tensors.elements[rows],
        tensor_bytes=tensors.bytes[rows],
        tensor_is_constant=constant[:, 1] > 0,
        tensor_is_variable=tensors.is_variable[rows],
        tensor_constant_start=constant[:, 0],
        tensor_constant_bytes=constant[:, 1],
        tensor_position=tensors.position[rows],
        tensor_fields=tensors.fields[rows],
        known_statistics=known,
    )
