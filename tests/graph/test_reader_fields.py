"""Every field of every model in reach, compared with the `tflite` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from ai_edge_litert import schema_py_generated as litert

from perfsage.graph import Graph, read_graph, schema
from perfsage.graph.schema import Kind
from perfsage.graph.table import Table
from tests.graph.reader_models import MADE, REAL_FILES, pack

Fields = dict[str, Any]

FILES = REAL_FILES or [pytest.param(None, marks=pytest.mark.skip(reason="no real models in reach"))]


def reference(item: Any, name: str) -> Fields:
    """Return all fields of a table as the package reads them."""
    return {field.name: reference_field(item, field) for field in schema.fields(name).values()}


def reference_field(item: Any, field: schema.Field) -> Any:
    accessor = next(a for a in dir(item) if schema.snake_case(a) == field.name)
    read = getattr(item, accessor)
    if field.kind is Kind.UNION:
        return reference_union(item, accessor, field.name, read())
    if field.kind is Kind.TABLE:
        return None if read() is None else reference(read(), field.table or "")
    if field.kind is Kind.TABLES:
        return [reference(read(i), field.table or "") for i in range(getattr(item, f"{accessor}Length")())]
    if field.kind is Kind.VECTOR:
        values = getattr(item, f"{accessor}AsNumpy")()
        return [] if isinstance(values, int) else values.tolist()
    return read()


def reference_union(item: Any, accessor: str, name: str, table: Any) -> Any:
    kind = schema.union_tables(name).get(getattr(item, f"{accessor}Type")())
    if table is None or kind is None:
        return None
    nested = getattr(tflite, kind)()
    nested.Init(table.Bytes, table.Pos)
    return reference(nested, kind)


def ours(table: Table) -> Fields:
    """Return all fields of a table as our reader reads them."""
    return {field.name: our_field(table, field) for field in schema.fields(table.name).values()}


def our_field(table: Table, field: schema.Field) -> Any:
    if field.kind is Kind.UNION:
        nested = table.union(field.name)
        return None if nested is None else ours(nested)
    value = table.get(field.name)
    if field.kind is Kind.TABLE:
        return None if value is None else ours(value)
    if field.kind is Kind.TABLES:
        return [ours(nested) for nested in value]
    if (table.name, field.name) == ("OperatorCode", "builtin_code"):
        # The package ignores codes below its placeholder here; `operator_codes` compares what LiteRT does.
        small = value < tflite.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
        return table.get("deprecated_builtin_code") if small else value
    if field.kind is Kind.STRING:
        return None if value is None else value.encode()
    return list(value) if field.kind is Kind.VECTOR else value


def check(data: bytes) -> None:
    graph, model = read_graph(data), tflite.Model.GetRootAs(data, 0)
    tree = reference(model, "Model")
    assert ours(graph.root) == tree
    for index, buffer in enumerate(tree["buffers"]):
        assert list(graph.buffer(index)) == buffer["data"]
    for subgraph, expected in zip(graph.subgraphs, tree["subgraphs"], strict=True):
        assert (list(subgraph.inputs), list(subgraph.outputs)) == (expected["inputs"], expected["outputs"])
        assert subgraph.name.encode() == (expected["name"] or b"")
        check_operators(graph, subgraph.index, expected["operators"], operator_codes(data))
        check_tensors(graph, subgraph.index, expected["tensors"], tree["buffers"])


def operator_codes(data: bytes) -> list[Fields]:
    """Return the operator codes as LiteRT takes them: the larger of the old and the new field."""
    model = litert.Model.GetRootAs(data, 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    return [
        {
            "builtin_code": max(code.BuiltinCode(), code.DeprecatedBuiltinCode()),
            "custom_code": code.CustomCode(),
            "version": code.Version(),
        }
        for code in codes
    ]


def check_operators(
    graph: Graph, index: int, expected: list[dict[str, Any]], codes: list[dict[str, Any]]
) -> None:
    subgraph = graph.subgraphs[index]
    assert len(subgraph.operators) == len(expected)
    for operator, fields in zip(subgraph.operators, expected, strict=True):
        code = codes[fields["opcode_index"]]
        custom = code["builtin_code"] == tflite.BuiltinOperator.CUSTOM
        name = code["custom_code"].decode() if custom else tflite.BUILTIN_OPCODE2NAME[code["builtin_code"]]
        assert (operator.type, operator.is_custom, operator.version) == (name, custom, code["version"])
        for wire in ("inputs", "outputs", "intermediates", "mutating_variable_inputs"):
            assert list(getattr(operator, wire)) == fields[wire]
        assert list(operator.custom_options) == fields["custom_options"]
        options = fields["builtin_options"] or fields["builtin_options2"] or {}
        given = {key: list(v) if isinstance(v, tuple) else v for key, v in operator.attributes.items()}
        filled = {key: v.encode() if isinstance(v, str) else v for key, v in given.items()}
        assert {key: filled.get(key, [] if v == [] else None) for key, v in options.items()} == options
    check_attribute_columns(graph, index)


def check_attribute_columns(graph: Graph, index: int) -> None:
    subgraph = graph.subgraphs[index]
    attributes = [operator.attributes for operator in subgraph.operators]
    for name in {
        key for options in attributes for key, v in options.items() if not isinstance(v, str | tuple)
    }:
        column = subgraph.columns.attribute(name, -77)
        assert column.tolist() == [options.get(name, -77) for options in attributes]


def check_tensors(
    graph: Graph, index: int, expected: list[dict[str, Any]], buffers: list[dict[str, Any]]
) -> None:
    subgraph = graph.subgraphs[index]
    types = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}
    assert len(subgraph.tensors) == len(expected)
    for tensor, fields in zip(subgraph.tensors, expected, strict=True):
        assert tensor.type == types[fields["type"]]
        for name in ("shape", "shape_signature"):
            assert list(getattr(tensor, name)) == fields[name]
        for name in ("buffer", "is_variable", "has_rank"):
            assert getattr(tensor, name) == fields[name]
        assert tensor.name.encode() == (fields["name"] or b"")
        assert tensor.is_constant == bool(buffers[fields["buffer"]]["data"])
        assert tensor.is_dynamic == (-1 in fields["shape_signature"])
        row = subgraph.columns.tensor_elements[tensor.index]
        assert row == np.prod(fields["shape"], dtype=np.int64)
        quantization = fields["quantization"]
        assert (tensor.quantization is None) == (not quantization or not quantization["scale"])
        if tensor.quantization:
            for name in ("scale", "zero_point", "min", "max"):
                assert list(getattr(tensor.quantization, name)) == quantization[name]
            assert tensor.quantization.dimension == quantization["quantized_dimension"]


@pytest.mark.parametrize("name", MADE)
def test_every_field_of_made_models(name: str) -> None:
    check(pack(MADE[name]()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem[-30:] if path else "none")
def test_every_field_of_real_models(path: Path) -> None:
    check(path.read_bytes())


def test_the_slot_of_every_field_is_found() -> None:
    for table in ("Model", "SubGraph", "Tensor", "Operator", "OperatorCode", "Buffer"):
        found = [field.slot for field in schema.fields(table).values()]
        assert found == list(range(len(found)))
