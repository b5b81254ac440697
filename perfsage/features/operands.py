"""The operands of each operator that matter to its cost, and their shapes in one form for all operators."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields
from functools import cache, wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Subgraph
from perfsage.graph.schema import members, type_bits

Flags = NDArray[np.bool_]
_Question = TypeVar("_Question", bound=Callable[..., Any])

_DATA_SLOT = {"SPLIT": 1, "TRANSPOSE_CONV": 2, "CONV_3D_TRANSPOSE": 2}
"""Where the data is not the first input."""
_FILTERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_MATRICES = ("FULLY_CONNECTED",)
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16")


class Operands:
    """One tensor index per operator for each role (`absent` where there is none), and what they look like.

    `data` is the main input, `second` the input after the first, `weight` the second one where it is
    constant, `result` the first output. `dimensions` float64[tensors + 1, 4] are the last four dimensions of
    each tensor, ones on the left, `elements` their product, and `readers` int64[tensors + 1] how often it is
    read, by operators or by whom the graph's outputs are for; the last row stands for absent tensors.
    """

    def __init__(self, subgraph: Subgraph) -> None:
        columns = subgraph.columns
        ins, outs = columns.operator_inputs, columns.operator_outputs
        self.type = np.minimum(columns.operator_type, 255)
        self.inputs, self.outputs = np.diff(ins.offsets), np.diff(outs.offsets)
        self.absent = len(columns.tensor_type)
        self.constant = np.append(columns.tensor_is_constant, False)
        self.tensor_type = np.append(columns.tensor_type, 255)
        self.data = _operand(
            ins.values, ins.offsets[:-1] + _data_slots()[self.type], ins.offsets, self.absent
        )
        self.second = _operand(ins.values, ins.offsets[:-1] + 1, ins.offsets, self.absent)
        self.result = _operand(outs.values, outs.offsets[:-1], outs.offsets, self.absent)
        total = np.concatenate([[0], np.cumsum(self.constant[ins.values])])
        self.constants = total[ins.offsets[1:]] - total[ins.offsets[:-1]]
        self.has_weight = self.constant[self.second]
        self.weight = np.where(self.has_weight, self.second, self.absent)
        self.dimensions = _dimensions(columns.tensor_shape.values, columns.tensor_shape.offsets)
        height, width, depth = self.dimensions[:, 1], self.dimensions[:, 2], self.dimensions[:, 3]
        self.elements = self.dimensions[:, 0] * height * width * depth
        self.readers = np.bincount(ins.values[ins.values >= 0], minlength=self.absent + 1)
        self.readers[[*subgraph.outputs]] += 1
        self.answers: dict[tuple[str | bytes, ...], Any] = {}
        self._of_types: dict[tuple[str, ...], Flags] = {}

    def is_type(self, *names: str) -> Flags:
        """Return which operators are of one of these builtin types, bool[n] to read only."""
        found = self._of_types.get(names)
        if found is None:
            found = self._of_types[names] = _protected(operator_flags(names).take(self.type))
        return found

    def retyped(self, rows: NDArray[np.int64], name: str) -> Operands:
        """Return the same operands with the operators in `rows` taken for those of another builtin type."""
        made = copy(self)
        made.type = self.type.copy()
        made.type[rows] = np.flatnonzero(operator_flags((name,)))[0]
        made.answers, made._of_types = {}, {}
        return made

    def shapes(self, window: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64[n, 11]: output n h w c, input h w c, kernel h w c, elements of the second input.

        `window` float64[n, 2] is the window of poolings. A fully connected layer is a kernel of 1 x 1.
        """
        made = np.ones((len(self.type), 11))
        made[:, :4] = self.dimensions[self.result]
        made[:, 4:7] = self.dimensions[self.data][:, 1:]
        filters = self.is_type(*_FILTERS) & self.has_weight
        weight = self.dimensions[self.weight]
        made[:, 7:9] = np.where(filters[:, None], weight[:, 1:3], np.maximum(window, 1.0))
        matrices = filters | (self.is_type(*_MATRICES) & self.has_weight)
        made[:, 9] = np.where(matrices, weight[:, 3], made[:, 6])
        made[:, 10] = self.elements[self.second]
        return made

    def element_types(self) -> NDArray[np.float64]:
        """Return float64[n, 6]: bits over 8 of data, result and weight, then which of them are floats."""
        kinds = self.tensor_type[np.stack([self.data, self.result, self.weight], axis=1)]
        bits = np.append(type_bits(), np.zeros(256))[:256]
        return np.concatenate([bits[kinds] / 8.0, type_flags(FLOATS)[kinds]], axis=1)


def windows(subgraph: Subgraph) -> NDArray[np.float64]:
    """Return the windows of poolings, float64[n, 2]."""
    attribute = subgraph.columns.attribute
    return np.stack([attribute("filter_height"), attribute("filter_width")], axis=1).astype(np.float64)


def remembered(question: _Question) -> _Question:
    """Answer a question about (subgraph, operands, *arrays) once; its arrays cannot be written into."""

    @wraps(question)
    def asked(subgraph: Subgraph, operands: Operands, *arrays: NDArray[np.generic]) -> Any:
        key: tuple[str | bytes, ...] = (question.__name__, *(array.tobytes() for array in arrays))
        if key not in operands.answers:
            operands.answers[key] = _protected(question(subgraph, operands, *arrays))
        return operands.answers[key]

    return cast(_Question, asked)


def _protected(answer: Any) -> Any:
    """Make the arrays of an answer read-only: it is one, or a tuple or a dataclass of them."""
    if isinstance(answer, np.ndarray):
        answer.flags.writeable = False
        return answer
    parts = answer if isinstance(answer, tuple) else [getattr(answer, f.name) for f in fields(answer)]
    for part in parts:
        _protected(part)
    return answer


def _operand(
    values: NDArray[np.int32], where: NDArray[np.int64], offsets: NDArray[np.integer], absent: int
) -> NDArray[np.int64]:
    """Return the tensor at position `where` of each operator, or `absent` where there is none."""
    found = np.append(values, -1)[np.where(where < offsets[1:], where, len(values))].astype(np.int64)
    return np.where(found >= 0, found, absent)


def _dimensions(values: NDArray[np.int32], offsets: NDArray[np.integer]) -> NDArray[np.float64]:
    where = offsets[1:, None] + np.arange(-4, 0)
    made = np.ones((len(offsets), 4))
    made[:-1] = np.append(values, 1)[np.where(where >= offsets[:-1, None], where, len(values))]
    return np.maximum(made, 1.0)


@cache
def _data_slots() -> NDArray[np.int64]:
    slots = np.zeros(256, dtype=np.int64)
    for name, slot in _DATA_SLOT.items():
        slots[operator_flags((name,))] = slot
    return slots


@cache
def operator_flags(names: tuple[str, ...]) -> Flags:
    """Return bool[256]: which builtin operators are among `names`."""
    return _flags("BuiltinOperator", names)


@cache
def type_flags(names: tuple[str, ...]) -> Flags:
    """Return bool[256]: which tensor types are among `names`."""
    return _flags("TensorType", names)


def _flags(enumeration: str, names: tuple[str, ...]) -> Flags:
    flags = np.zeros(256, dtype=np.bool_)
    flags[[value for value, name in members(enumeration).items() if name in names]] = True
    return flags
