"""The formulas behind `perfsage.graph.costs`: MACs and elementwise operations of all operators at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from perfsage.graph.costs_families import RECURRENT_WEIGHTS, Family, tables
from perfsage.graph.graph import Subgraph
from perfsage.graph.ragged import Ragged
from perfsage.graph.schema import operator_name

Int64 = npt.NDArray[np.int64]

LARGEST: Final = 1 << 48
"""No tensor is as large as this; larger figures come from damaged files and count as unknown."""

_BASIC_LSTM_INPUTS: Final = 5
_BASIC_LSTM_WEIGHTS: Final = (2,)


@dataclass(frozen=True, slots=True)
class _Operands:
    """Looks up operands, their elements and dimensions for several operators; unknown is -1."""

    subgraph: Subgraph
    elements: Int64
    """Elements by tensor index, with -1 behind the last for operands that are left out."""

    def of(self, ragged: Ragged, rows: Int64, slot: int | Int64) -> Int64:
        """Return the tensor in `slot` of each operator in `rows`, or -1."""
        position = ragged.offsets[rows] + slot
        inside = position < ragged.offsets[rows + 1]
        if len(ragged.values) == 0:
            return np.full(len(rows), -1)
        found = ragged.values[np.minimum(position, len(ragged.values) - 1)]
        return np.where(inside, found, -1)

    def inputs(self, rows: Int64, slot: int | Int64) -> Int64:
        """Return the tensor in input `slot` of each operator in `rows`, or -1."""
        return self.of(self.subgraph.columns.operator_inputs, rows, slot)

    def outputs(self, rows: Int64) -> Int64:
        """Return the first output of each operator in `rows`, or -1."""
        return self.of(self.subgraph.columns.operator_outputs, rows, 0)

    def dimension(self, tensors: Int64, from_end: npt.NDArray[np.bool_], step: int = 1) -> Int64:
        """Return the first dimension, or the last but `step` - 1 where `from_end`; -1 if there is none."""
        shapes = self.subgraph.columns.tensor_shape
        known = tensors >= 0
        if len(shapes.values) == 0:
            return np.full(len(tensors), -1)
        safe = np.where(known, tensors, 0)
        start, stop = shapes.offsets[safe], shapes.offsets[safe + 1]
        position = np.where(from_end, stop - step, start)
        known &= (position >= start) & (position < stop)
        return np.where(known, shapes.values[np.where(known, position, 0)], -1)


def open_tensors(subgraph: Subgraph) -> Int64:
    """Return the tensors with a size that is only known at run time, other than the batch (dimension 0).

    A batch left open stands in the file as the one that runtimes take; other open sizes are placeholders.
    """
    signature = subgraph.columns.tensor_signature
    if not len(signature.values):
        return np.empty(0, np.int64)
    position = np.flatnonzero(signature.values < 0)
    tensor = np.searchsorted(signature.offsets, position, "right") - 1
    return tensor[position > signature.offsets[tensor]]


def work(subgraph: Subgraph, unsized: Int64) -> tuple[Int64, Int64]:
    """Return MACs and elementwise operations: two int64[n_operators], -1 where unknown.

    `unsized` are tensors whose size is not known, beside those that the columns say.
    """
    columns = subgraph.columns
    types = columns.operator_type
    by_code = tables().family
    family = by_code[np.where((types >= 0) & (types < len(by_code) - 1), types, -1)]
    elements = np.append(columns.tensor_elements, -1)
    elements[elements > LARGEST] = -1
    elements[unsized] = -1
    operands = _Operands(subgraph, elements)
    macs = np.zeros(len(types), np.int64)
    elementwise = np.zeros(len(types), np.int64)
    macs[family == Family.UNKNOWN] = elementwise[family == Family.UNKNOWN] = -1
    present = np.bincount(family, minlength=len(Family))
    for kind, formula in _FORMULAS.items():
        if present[kind]:
            rows = np.flatnonzero(family == kind)
            target = macs if kind in _WITH_MACS else elementwise
            target[rows] = formula(operands, rows)
    return macs, elementwise


def _product(left: Int64, right: Int64) -> Int64:
    """Multiply where both are known and the result is below 2**62; -1 elsewhere."""
    small = left.astype(np.float64) * right < 2.0**62
    return np.where((left >= 0) & (right >= 0) & small, left * right, -1)


def _filter(operands: _Operands, rows: Int64) -> Int64:
    rules = tables()
    types = operands.subgraph.columns.operator_type[rows]
    base = rules.filter_base[types].astype(np.int64)
    filters = operands.inputs(rows, 1)
    tensor = np.where(base > 0, operands.inputs(rows, base), operands.outputs(rows))
    divisor = operands.dimension(filters, rules.filter_from_end[types])
    taps = np.where(divisor > 0, operands.elements[filters] // np.maximum(divisor, 1), -1)
    return _product(operands.elements[tensor], taps)


def _batch_matmul(operands: _Operands, rows: Int64) -> Int64:
    transposed = operands.subgraph.columns.attribute("adj_x")[rows] != 0
    left = operands.inputs(rows, 0)
    last = np.ones(len(rows), np.bool_)
    depth = np.where(transposed, operands.dimension(left, last, 2), operands.dimension(left, last))
    return _product(operands.elements[operands.outputs(rows)], depth)


def _recurrent(operands: _Operands, rows: Int64) -> Int64:
    source = operands.inputs(rows, 0)
    width = operands.dimension(source, np.ones(len(rows), np.bool_))
    steps = np.where(width > 0, operands.elements[source] // np.maximum(width, 1), -1)
    return _product(steps, np.array([_recurrent_weights(operands, row) for row in rows.tolist()]))


def _recurrent_weights(operands: _Operands, row: int) -> int:
    """Return the elements of the weights that are present; -1 if one has no fixed size or none is there."""
    columns = operands.subgraph.columns
    inputs = columns.operator_inputs[row].tolist()
    name = operator_name(int(columns.operator_type[row]))
    slots = RECURRENT_WEIGHTS[name]
    if name == "LSTM" and len(inputs) == _BASIC_LSTM_INPUTS:
        slots = _BASIC_LSTM_WEIGHTS
    sizes = [int(operands.elements[inputs[i]]) for i in slots if i < len(inputs) and inputs[i] >= 0]
    return sum(sizes) if sizes and min(sizes) >= 0 else -1


def _dot_general(operands: _Operands, rows: Int64) -> Int64:
    """Count out x the product of the left side's contracted dimensions."""
    depths = [_contracted(operands.subgraph, row) for row in rows.tolist()]
    return _product(operands.elements[operands.outputs(rows)], np.array(depths))


def _contracted(subgraph: Subgraph, row: int) -> int:
    subgraph, row = subgraph.part(row)
    operator = subgraph.operators[row]
    shape = subgraph.tensors[operator.inputs[0]].shape if operator.inputs and operator.inputs[0] >= 0 else ()
    axes = _integers(operator.attributes.get("lhs_contracting_dimensions"))
    if not shape or any(not 0 <= axis < len(shape) for axis in axes):
        return -1
    return _bounded(prod(shape[axis] for axis in axes))


def _hlo_convolution(operands: _Operands, rows: Int64) -> Int64:
    """Count out x the kernel's elements / its output features."""
    taps = [_kernel_taps(operands.subgraph, row) for row in rows.tolist()]
    return _product(operands.elements[operands.outputs(rows)], np.array(taps))


def _kernel_taps(subgraph: Subgraph, row: int) -> int:
    subgraph, row = subgraph.part(row)
    operator = subgraph.operators[row]
    if len(operator.inputs) < 2 or operator.inputs[1] < 0:
        return -1
    shape = subgraph.tensors[operator.inputs[1]].shape
    axis = operator.attributes.get("kernel_output_feature_dimension", 0)
    if not isinstance(axis, int) or not 0 <= axis < len(shape):
        return -1
    return _bounded(prod(size for i, size in enumerate(shape) if i != axis))


def _integers(value: object) -> tuple[int, ...]:
    return tuple(int(item) for item in value) if isinstance(value, Iterable) else ()


def _bounded(value: int) -> int:
    return value if 0 <= value < LARGEST else -1


def _per_output(operands: _Operands, rows: Int64) -> Int64:
    return operands.elements[operands.outputs(rows)]


def _per_input(operands: _Operands, rows: Int64) -> Int64:
    return operands.elements[operands.inputs(rows, 0)]


def _per_update(operands: _Operands, rows: Int64) -> Int64:
    return operands.elements[operands.inputs(rows, 1)]


def _window(operands: _Operands, rows: Int64) -> Int64:
    columns = operands.subgraph.columns
    height = columns.attribute("filter_height")[rows].astype(np.int64)
    width = columns.attribute("filter_width")[rows].astype(np.int64)
    return _product(_product(_per_output(operands, rows), height), width)


def _bilinear(operands: _Operands, rows: Int64) -> Int64:
    return _product(_per_output(operands, rows), np.full(len(rows), 4))


def _sum_of_inputs(operands: _Operands, rows: Int64) -> Int64:
    offsets = operands.subgraph.columns.operator_inputs.offsets
    return _product(_per_output(operands, rows), (offsets[rows + 1] - offsets[rows] - 1).astype(np.int64))


_FORMULAS: Final[dict[Family, Callable[[_Operands, Int64], Int64]]] = {
    Family.FILTER: _filter,
    Family.BATCH_MATMUL: _batch_matmul,
    Family.RECURRENT: _recurrent,
    Family.DOT_GENERAL: _dot_general,
    Family.HLO_CONVOLUTION: _hlo_convolution,
    Family.PER_OUTPUT: _per_output,
    Family.PER_INPUT: _per_input,
    Family.PER_UPDATE: _per_update,
    Family.WINDOW: _window,
    Family.BILINEAR: _bilinear,
    Family.SUM_OF_INPUTS: _sum_of_inputs,
}
_WITH_MACS: Final = frozenset(
    (Family.FILTER, Family.BATCH_MATMUL, Family.RECURRENT, Family.DOT_GENERAL, Family.HLO_CONVOLUTION)
)
