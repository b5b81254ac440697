"""How fast a .tflite file becomes columns, beside the `tflite` package's accessors reading the same fields.

    python -m benchmarks.read_graphs

Both sides read every operator's type, inputs, outputs and scalar attributes and every tensor's shape, type,
buffer, constness and whether it is variable; the answers are compared before anything is timed. Times are
the best of several runs, in microseconds.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import tflite

from perfsage.graph import Graph, read_graph, schema, strip_weights
from perfsage.graph.schema import Kind
from tests.graph.reader_models import REAL_FILES, chain, pack


@cache
def accessors(table: str) -> list[Any]:
    table_class = getattr(tflite, table)
    names = {field.name for field in schema.fields(table).values() if field.kind is Kind.SCALAR}
    return [item for name, item in vars(table_class).items() if schema.snake_case(name) in names]


def with_package(data: bytes) -> list[Any]:
    model = tflite.Model.GetRootAs(data, 0)
    codes = [model.OperatorCodes(i).BuiltinCode() for i in range(model.OperatorCodesLength())]
    found = []
    for s in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(s)
        found.append(
            [package_operator(subgraph.Operators(i), codes) for i in range(subgraph.OperatorsLength())]
        )
        found.append([package_tensor(subgraph.Tensors(i), model) for i in range(subgraph.TensorsLength())])
    return found


def package_operator(operator: Any, codes: list[int]) -> tuple[Any, ...]:
    inputs, outputs = operator.InputsAsNumpy(), operator.OutputsAsNumpy()
    table, kind = operator.BuiltinOptions(), operator.BuiltinOptionsType()
    values: list[Any] = []
    if table is not None and kind in schema.options_tables():
        name = schema.options_tables()[kind]
        options = getattr(tflite, name)()
        options.Init(table.Bytes, table.Pos)
        values = [accessor(options) for accessor in accessors(name)]
    return codes[operator.OpcodeIndex()], inputs, outputs, values


def package_tensor(tensor: Any, model: Any) -> tuple[Any, ...]:
    buffer = tensor.Buffer()
    constant = model.Buffers(buffer).DataLength() > 0
    return tensor.ShapeAsNumpy(), tensor.Type(), buffer, constant, tensor.IsVariable()


def with_columns(data: bytes) -> Graph:
    graph = read_graph(data)
    for subgraph in graph.subgraphs:
        assert subgraph.columns.options.values is not None
    return graph


def package_knows_codes(data: bytes) -> bool:
    """Return False for files whose codes below 127 stand only in the new field, which the package ignores."""
    codes = read_graph(data).root.get("operator_codes")
    return all(code.get("builtin_code") in (0, code.get("deprecated_builtin_code")) for code in codes)


def row(array: Any) -> list[int]:
    return [] if isinstance(array, int) else array.tolist()


def compare(data: bytes) -> None:
    """Assert that both sides read the same."""
    theirs, graph = with_package(data), with_columns(data)
    for index, subgraph in enumerate(graph.subgraphs):
        for operator, (code, inputs, outputs, values) in zip(
            subgraph.operators, theirs[2 * index], strict=True
        ):
            assert subgraph.columns.operator_type[operator.index] == code
            assert (list(operator.inputs), list(operator.outputs)) == (row(inputs), row(outputs))
            scalars = [value for value in operator.attributes.values() if isinstance(value, int | float)]
            assert np.array_equal(scalars, values)
        for tensor, (shape, kind, buffer, constant, variable) in zip(
            subgraph.tensors, theirs[2 * index + 1], strict=True
        ):
            assert (list(tensor.shape), subgraph.columns.tensor_type[tensor.index]) == (row(shape), kind)
            assert (tensor.buffer, tensor.is_constant, tensor.is_variable) == (buffer, constant, variable)


def microseconds(action: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(action, number=number, repeat=5)) / number * 1e6


def report(name: str, data: bytes) -> None:
    compare(data)
    structure = strip_weights(data)
    package = microseconds(lambda: with_package(data), 3)
    columns = microseconds(lambda: with_columns(data), 30)
    parse = microseconds(lambda: read_graph(data), 30)
    identify = microseconds(lambda: read_graph(data).graph_id, 30)
    stripped = microseconds(lambda: read_graph(structure), 30)
    count = len(list(read_graph(data).operators))
    print(
        f"{name[:36]:36} {count:5} {package:9.0f} {columns:8.0f} {package / columns:6.1f}x"
        f" {parse:8.0f} {identify:8.0f} {stripped:9.0f}"
    )


def main() -> None:
    print(
        f"{'':36} {'ops':>5} {'package':>9} {'columns':>8} {'ratio':>7} {'no attr':>8}"
        f" {'with id':>8} {'stripped':>9}"
    )
    for count in (100, 300):
        report(f"generated, {count} operators", pack(chain(count, weights=bytes(range(36)))))
    for path in sorted(REAL_FILES, key=lambda path: path.stat().st_size)[::6]:
        data = path.read_bytes()
        if package_knows_codes(data):
            report(path.stem, data)


if __name__ == "__main__":
    main()
