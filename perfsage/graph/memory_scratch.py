"""Scratch buffers that TFLM's reference kernels ask for, beside the tensors.

Sizes were read from the kernels' Prepare functions and confirmed against the recording interpreter
(tests/graph/test_memory_plan.py). ADD_N keeps pointers in its buffer, of 8 bytes each as on a 64-bit host.
Optimised kernels (CMSIS-NN, Xtensa, ...) ask for other amounts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from tflite import TensorType

from perfsage.graph.graph import Subgraph
from perfsage.graph.schema import CUSTOM, OPERATORS

_WORD: Final = 4
_POINTER: Final = 8
_QUANTIZED: Final = (TensorType.INT8, TensorType.INT16)


class Node:
    """One operator's operands as the kernels see them; `name` is the custom code of custom operators."""

    def __init__(self, subgraph: Subgraph, row: int, name: str) -> None:
        columns = subgraph.columns
        self._columns, self._row = columns, row
        self._inputs = columns.operator_inputs[row].tolist()
        self._outputs = columns.operator_outputs[row].tolist()
        custom = columns.operator_custom_code[int(columns.operator_opcode[row])]
        self.name = custom or name

    @property
    def inputs(self) -> int:
        """Return how many inputs the operator has."""
        return len(self._inputs)

    def has(self, slot: int) -> bool:
        """Return whether there is a tensor in input `slot`."""
        return slot < len(self._inputs) and self._inputs[slot] >= 0

    def type(self, slot: int) -> int:
        """Return the TensorType of input `slot`, -1 if it is left out."""
        return int(self._columns.tensor_type[self._inputs[slot]]) if self.has(slot) else -1

    def elements(self, slot: int) -> int:
        """Return the elements of input `slot`."""
        return int(self._columns.tensor_elements[self._inputs[slot]]) if self.has(slot) else 0

    def size(self, slot: int) -> int:
        """Return the bytes of input `slot`."""
        return int(self._columns.tensor_bytes[self._inputs[slot]]) if self.has(slot) else 0

    def shape(self, slot: int) -> list[int]:
        """Return the shape of input `slot`, empty if it is left out."""
        found: list[int] = self._columns.tensor_shape[self._inputs[slot]].tolist() if self.has(slot) else []
        return found

    def quantized_channels(self, slot: int) -> int:
        """Return how many scales the tensor in input `slot` has."""
        return self._columns.quantization_lengths(self._inputs[slot])[0] if self.has(slot) else 0

    def attribute(self, name: str) -> int:
        """Return one scalar option of the operator."""
        return int(self._columns.attribute(name)[self._row])

    def output_shape(self) -> list[int]:
        """Return the shape of the first output."""
        found: list[int] = self._columns.tensor_shape[self._outputs[0]].tolist() if self._outputs else []
        return found

    def output_elements(self) -> int:
        """Return the elements of the first output."""
        return int(self._columns.tensor_elements[self._outputs[0]]) if self._outputs else 0


def scratch_bytes(subgraph: Subgraph) -> list[tuple[int, int]]:
    """Return (operator, bytes) of each scratch buffer, in the order in which the kernels ask for them."""
    types = subgraph.columns.operator_type
    packed = bool((subgraph.columns.tensor_type == TensorType.INT4).any())
    wanted = _has_scratch(packed)
    rows = np.flatnonzero(wanted[np.clip(types, 0, len(wanted) - 1)]).tolist()
    found: list[tuple[int, int]] = []
    for row in rows:
        node = Node(subgraph, row, OPERATORS.get(int(types[row]), ""))
        rule = _RULES.get(node.name)
        found.extend((row, size) for size in (rule(node) if rule else ()))
    return found


def _unpacked_filter(node: Node) -> list[int]:
    return [node.elements(1)] if node.type(1) == TensorType.INT4 else []


def _transpose_conv(node: Node) -> list[int]:
    if node.type(2) == TensorType.INT16:
        bias = [8 * node.elements(3)] if node.type(3) == TensorType.INT16 else []
        return [8 * node.output_elements(), *bias]
    return [_WORD * node.output_elements()] if node.type(2) == TensorType.INT8 else []


def _mean_or_sum(node: Node) -> list[int]:
    sums = [_WORD * node.output_elements()] if node.type(0) in _QUANTIZED else []
    return sums + _axes(node)


def _axes(node: Node) -> list[int]:
    return [_WORD * len(node.shape(0)), _WORD * node.elements(1)]


def _mirror_pad(node: Node) -> list[int]:
    return [_WORD * len(node.shape(0))] * 2


def _svdf(node: Node) -> list[int]:
    filters = node.shape(1)[0] if node.shape(1) else 0
    batch = node.shape(0)[0] if node.shape(0) else 0
    if node.type(0) == TensorType.INT8:
        return [_WORD * batch * filters, _WORD * node.output_elements()]
    return [_WORD * batch * filters]


def _lstm(node: Node) -> list[int]:
    return [node.size(19)] * 4


def _pointers(node: Node) -> list[int]:
    return [_POINTER * node.inputs]


_RULES: Final[dict[str, Callable[[Node], list[int]]]] = {
    "CONV_2D": _unpacked_filter,
    "DEPTHWISE_CONV_2D": _unpacked_filter,
    "FULLY_CONNECTED": _unpacked_filter,
    "TRANSPOSE_CONV": _transpose_conv,
    "MEAN": _mean_or_sum,
    "SUM": _mean_or_sum,
    "REDUCE_MAX": _axes,
    "REDUCE_MIN": _axes,
    "REDUCE_ALL": _axes,
    "MIRROR_PAD": _mirror_pad,
    "SVDF": _svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "ADD_N": _pointers,
}


@cache
def _has_scratch(packed: bool) -> npt.NDArray[np.bool_]:
    """Return by builtin code which operators may ask; `packed` says whether there are 4-bit tensors."""
    wanted = np.zeros(max(OPERATORS) + 2, np.bool_)
    for code, name in OPERATORS.items():
        rule = _RULES.get(name)
        wanted[code] = rule is not None and (packed or rule is not _unpacked_filter)
    wanted[CUSTOM] = True
    return wanted
