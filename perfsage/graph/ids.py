"""The graph id: what of a model decides its cost, in a canonical form, hashed.

docs/decisions/0001-graph-id.md says what counts and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from perfsage.graph import schema
from perfsage.graph.columns import Columns
from perfsage.graph.flatbuffer import Array
from perfsage.graph.operands import parameter_inputs
from perfsage.graph.options import defaults

if TYPE_CHECKING:
    from perfsage.graph.graph import Subgraph

FORMAT = b"perfsage graph 1"


def graph_id(subgraphs: Sequence[Subgraph]) -> str:
    """Return the sha256 of the structure of `subgraphs`, in hex."""
    parts = [FORMAT]
    for subgraph in subgraphs:
        pieces = list(_pieces(subgraph))
        parts += [np.array([len(piece) for piece in pieces], "<i8").tobytes(), *pieces]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _pieces(subgraph: Subgraph) -> Iterator[bytes]:
    columns = subgraph.columns
    wires = (columns.operator_inputs, columns.operator_outputs, columns.operator_intermediates)
    inputs, outputs = np.array(subgraph.inputs, np.int64), np.array(subgraph.outputs, np.int64)
    uses = np.concatenate([inputs, *(wire.values for wire in wires), outputs])
    order, numbers = _canonical(uses, len(columns.tensor_type))
    yield _bytes(np.array([len(inputs), len(outputs), len(order)]))
    yield _bytes(np.concatenate([wire.lengths for wire in wires]))
    yield _bytes(numbers[uses])
    yield _bytes(columns.operator_type)
    yield from _tensors(columns, order)
    yield from _options(columns)
    yield from _parameters(columns)


def _bytes(values: Array) -> bytes:
    return values.astype("<i8").tobytes()


def _canonical(uses: Array, tensors: int) -> tuple[Array, Array]:
    """Return the used tensors in order of first use, and the number of each tensor in that order.

    The row after the last tensor stands for a left-out input, which indexes it as -1.
    """
    first = np.full(tensors + 1, len(uses))
    first[uses[::-1]] = np.arange(len(uses) - 1, -1, -1)
    order = np.argsort(first[:-1])[: np.count_nonzero(first[:-1] < len(uses))]
    numbers = np.full(tensors + 1, -1)
    numbers[order] = np.arange(len(order))
    return order, numbers


def _tensors(columns: Columns, order: Array) -> Iterator[bytes]:
    shapes = columns.tensor_shape.take(order)
    yield _bytes(shapes.lengths)
    yield _bytes(shapes.values)
    yield columns.tensor_type[order].tobytes()
    yield columns.tensor_is_constant[order].tobytes()
    yield columns.tensor_is_variable[order].tobytes()


def _options(columns: Columns) -> Iterator[bytes]:
    """Only options that differ from the schema's default count, so that new fields change nothing."""
    options = columns.options
    standard, has_fields = defaults(options.keys, options.values.shape[1])
    rows, slots = np.nonzero(options.values != standard)
    yield _bytes(np.where(has_fields & (options.positions > 0), options.keys, 0))
    yield _bytes(np.stack([rows, slots, options.values[rows, slots]]))
    yield repr(options.others()).encode()
    custom = np.flatnonzero(columns.operator_type == schema.CUSTOM).tolist()
    codes = columns.operator_custom_code
    raw, total = [], 0
    for row in custom:
        raw.append((row, codes[columns.operator_opcode[row]], options.custom(row)))
        total += len(raw[-1][2])
        columns.buffer.check_total(total, "the options of custom operators", int(options.operators[row]))
    yield repr(raw).encode()


def _parameters(columns: Columns) -> Iterator[bytes]:
    rows, positions, tensors = parameter_inputs(columns)
    sizes = columns.tensor_constant_bytes[tensors]
    columns.buffer.check_total(int(sizes.sum()), "the parameters of operators", 0)
    yield _bytes(np.stack([rows, positions, sizes]))
    yield b"".join(columns.constant(tensor) for tensor in tensors.tolist())
