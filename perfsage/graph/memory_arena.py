"""TFLM's whole arena: the memory plan (head) and what is stored for good (tail), for the 64-bit host.

The tail holds TFLM's own structures. Every allocation is replayed in TFLM's order with its alignment, with
the structure sizes of tflite-micro 0.dev20261023182759 on x86-64 and its recording interpreter, so figures
equal what that reports. On a Cortex-M pointers take half the space, so the tail is smaller there; the head
is the same. Sizes were read from the published wheel and confirmed by tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from tflite import TensorType

from perfsage.errors import InvalidInputError
from perfsage.graph.columns import Columns
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.memory_plan import OFFLINE_PLAN, Int64, plan_head, plan_heads
from perfsage.graph.memory_scratch import Node
from perfsage.graph.schema import OPERATORS

Allocation = tuple[int, int]
"""Bytes and alignment."""

_POINTER: Final = 8
_BUFFER: Final = 16
_ALLOCATORS: Final = (104, 72, 272, 16)
_SUBGRAPH: Final = 24
_EVAL_TENSOR: Final = 24
_NODE: Final = 64
_TENSOR: Final = 64
_QUANTIZATION: Final = 24
_SOFTMAX_TABLE: Final = 1026

_REDUCE: Final = ((1, 1), 44)
_COMPARISON: Final = (None, 32)
_NOTHING: Final = (None, 0)
_STORED: Final[dict[str, tuple[Allocation | None, int]]] = {
    "ABS": (None, 28),
    "ADD": ((8, 4), 60),
    "ADD_N": _NOTHING,
    "ARG_MAX": ((4, 4), 0),
    "ARG_MIN": ((4, 4), 0),
    "AVERAGE_POOL_2D": ((40, 4), 32),
    "BATCH_MATMUL": ((3, 1), 32),
    "BATCH_TO_SPACE_ND": _NOTHING,
    "BROADCAST_ARGS": _NOTHING,
    "BROADCAST_TO": _NOTHING,
    "CALL_ONCE": ((4, 4), 8),
    "CAST": ((8, 4), 0),
    "CEIL": _NOTHING,
    "CONCATENATION": ((8, 4), 80),
    "CONV_2D": ((28, 4), 80),
    "COS": _NOTHING,
    "CUMSUM": ((2, 1), 0),
    "DEPTHWISE_CONV_2D": ((28, 4), 80),
    "DEPTH_TO_SPACE": ((4, 4), 20),
    "DEQUANTIZE": (None, 32),
    "DIV": ((4, 4), 28),
    "DYNAMIC_UPDATE_SLICE": _NOTHING,
    "ELU": (None, 256),
    "EMBEDDING_LOOKUP": (None, 28),
    "EQUAL": _COMPARISON,
    "EXP": _NOTHING,
    "EXPAND_DIMS": _NOTHING,
    "FILL": _NOTHING,
    "FLOOR": _NOTHING,
    "FLOOR_DIV": _NOTHING,
    "FLOOR_MOD": _NOTHING,
    "FULLY_CONNECTED": ((32, 8), 72),
    "GATHER": ((8, 4), 0),
    "GATHER_ND": _NOTHING,
    "GREATER": _COMPARISON,
    "GREATER_EQUAL": _COMPARISON,
    "HARD_SWISH": (None, 20),
    "IF": ((8, 4), 8),
    "L2_NORMALIZATION": ((4, 4), 4),
    "L2_POOL_2D": ((40, 4), 20),
    "LEAKY_RELU": ((4, 4), 24),
    "LESS": _COMPARISON,
    "LESS_EQUAL": _COMPARISON,
    "LOG": _NOTHING,
    "LOGICAL_AND": _NOTHING,
    "LOGICAL_NOT": _NOTHING,
    "LOGICAL_OR": _NOTHING,
    "LOGISTIC": (None, 16),
    "LOG_SOFTMAX": _NOTHING,
    "MAXIMUM": _NOTHING,
    "MAX_POOL_2D": ((40, 4), 32),
    "MEAN": _REDUCE,
    "MINIMUM": _NOTHING,
    "MIRROR_PAD": ((4, 4), 20),
    "MUL": ((4, 4), 36),
    "NEG": _NOTHING,
    "NOT_EQUAL": _COMPARISON,
    "PACK": ((8, 4), 0),
    "PAD": (None, 56),
    "PADV2": (None, 56),
    "PRELU": (None, 28),
    "QUANTIZE": (None, 32),
    "REDUCE_ALL": _REDUCE,
    "REDUCE_MAX": _REDUCE,
    "REDUCE_MIN": _REDUCE,
    "RELU": (None, 28),
    "RELU6": (None, 8),
    "RESHAPE": ((36, 4), 0),
    "RESIZE_BILINEAR": ((2, 1), 0),
    "RESIZE_NEAREST_NEIGHBOR": ((2, 1), 0),
    "REVERSE_V2": _NOTHING,
    "ROUND": _NOTHING,
    "RSQRT": (None, 28),
    "SELECT_V2": (None, 1),
    "SHAPE": ((4, 4), 0),
    "SIN": _NOTHING,
    "SLICE": _NOTHING,
    "SOFTMAX": ((4, 4), 80),
    "SPACE_TO_BATCH_ND": (None, 4),
    "SPACE_TO_DEPTH": ((4, 4), 20),
    "SPLIT": ((4, 4), 0),
    "SPLIT_V": ((4, 4), 0),
    "SQRT": _NOTHING,
    "SQUARE": _NOTHING,
    "SQUARED_DIFFERENCE": (None, 112),
    "SQUEEZE": ((36, 4), 0),
    "STRIDED_SLICE": ((24, 4), 84),
    "SUB": ((8, 4), 52),
    "SUM": _REDUCE,
    "SVDF": ((12, 4), 36),
    "TANH": (None, 16),
    "TRANSPOSE": _NOTHING,
    "TRANSPOSE_CONV": ((20, 4), 88),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ((16, 4), 688),
    "UNPACK": ((8, 4), 0),
    "WHILE": ((8, 4), 8),
    "ZEROS_LIKE": _NOTHING,
}
"""Options (bytes, alignment) and kernel data (bytes) that each operator stores, as far as they are fixed."""


@dataclass(frozen=True, slots=True)
class ArenaEstimate:
    """TFLM's arena in bytes: `head` for activations, `tail` for structures, `total` for both.

    `tail_bytes` and `total_bytes` are None when an operator stores an amount that is not known here;
    `unavailable` then says which.
    """

    head_bytes: int
    tail_bytes: int | None
    total_bytes: int | None
    unavailable: str | None = None


def estimate_arena(graph: Graph) -> ArenaEstimate:
    """Return the arena that TFLM's recording interpreter reports for `graph` on a 64-bit host.

    Raises InvalidInputError when no static memory plan exists.
    """
    return _estimate(graph, *plan_head(graph))


def estimate_arenas(graphs: Sequence[Graph], joined: Subgraph) -> list[ArenaEstimate | InvalidInputError]:
    """Return the arena of each graph, or why it has none; `joined` are the subgraphs of all of them."""
    if all(len(graph.subgraphs) == 1 and OFFLINE_PLAN not in graph.metadata for graph in graphs):
        try:
            heads = plan_heads(joined)
        except InvalidInputError:
            pass  # It is the fault of one of them, or of all together.
        else:
            return [_estimate(graph, *head) for graph, head in zip(graphs, heads, strict=True)]
    return [_estimate_or_error(graph) for graph in graphs]


def _estimate_or_error(graph: Graph) -> ArenaEstimate | InvalidInputError:
    try:
        return estimate_arena(graph)
    except InvalidInputError as error:
        return error


def _estimate(graph: Graph, head: int, scratch_buffers: int) -> ArenaEstimate:
    parts = [_Part(subgraph, _names(subgraph.columns)) for subgraph in graph.subgraphs]
    for name in (name for part in parts for name in part.used()):
        if name not in _STORED:
            return ArenaEstimate(head, None, None, f"what {name} stores for good is not known")
    tail = 0
    for size, alignment in _allocations(graph, parts, scratch_buffers):
        # The tail grows downwards, and each allocation's lower end is aligned.
        tail = -(-(tail + size) // alignment) * alignment
    return ArenaEstimate(head, tail, head + tail)


@dataclass(frozen=True, slots=True)
class _Part:
    """A subgraph, and a name for each operator code that it uses: the custom code of custom operators."""

    subgraph: Subgraph
    names: list[str]

    def used(self) -> list[str]:
        """Return the names that occur, in the order in which they do."""
        return [self.names[code] for code in dict.fromkeys(self.subgraph.columns.operator_opcode.tolist())]

    def options(self) -> list[Allocation]:
        """Return the options that operators store, in their order, as two where all have one alignment."""
        by_code = [_STORED.get(name, _NOTHING)[0] for name in self.names]
        opcode = self.subgraph.columns.operator_opcode
        first, *more = found = [made for code in opcode.tolist() if (made := by_code[code])] or [(0, 1)]
        size, alignment = first
        if not more or any(made and made[1] != alignment for made in by_code):
            return found
        # What follows begins where the first one was aligned.
        counts = zip(by_code, np.bincount(opcode, minlength=len(by_code)).tolist(), strict=True)
        total = sum(count * (-(-made[0] // alignment) * alignment) for made, count in counts if made)
        return [first, (total - -(-size // alignment) * alignment, alignment)]

    def kernel_data(self) -> Int64:
        """Return the bytes that kernels store, for each operator."""
        by_code = np.array([_STORED.get(name, _NOTHING)[1] for name in self.names], np.int64)
        return by_code[self.subgraph.columns.operator_opcode]


def _names(columns: Columns) -> list[str]:
    builtin = np.full(len(columns.operator_custom_code), -1)
    builtin[columns.operator_opcode] = columns.operator_type
    named = zip(columns.operator_custom_code, builtin.tolist(), strict=True)
    return [custom or OPERATORS.get(kind, str(kind)) for custom, kind in named]


def _allocations(graph: Graph, parts: list[_Part], scratch_buffers: int) -> Iterator[Allocation]:
    """Yield every allocation in TFLM's order, or several as one."""
    yield from ((size, _POINTER) for size in _ALLOCATORS)
    yield _SUBGRAPH * len(parts), _POINTER
    yield from ((_EVAL_TENSOR * len(part.subgraph.columns.tensor_type), _POINTER) for part in parts)
    yield from ((_NODE * len(part.subgraph.columns.operator_type), _POINTER) for part in parts)
    for part in parts:
        yield from part.options()
    yield from _buffers(np.concatenate([part.kernel_data() for part in parts]))
    for part in parts:
        yield from _buffers(_prepared(part))
    yield from _finish(graph, scratch_buffers)


def _buffers(sizes: Int64) -> list[Allocation]:
    """Return buffers that follow one another, all but the first as one: they begin where it was aligned."""
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return []
    rest = -(-sizes[1:] // _BUFFER) * _BUFFER
    return [(int(sizes[0]), _BUFFER), (int(rest.sum()), _BUFFER)]


def _prepared(part: _Part) -> Int64:
    """Return what the kernels of a subgraph ask for while they prepare, convolutions last.

    These store something before, so that none of them is the first buffer and their order does not matter.
    """
    opcode = part.subgraph.columns.operator_opcode
    ruled = np.array([name in _PREPARED for name in part.names], np.bool_)[opcode]
    made: list[int] = []
    for row in np.flatnonzero(ruled).tolist():
        name = part.names[opcode[row]]
        made += _PREPARED[name](Node(part.subgraph, row, name))
    channels = _channels(part)
    # Float kernels ask for these too, and leave them unused.
    return np.concatenate([np.array(made, np.int64), np.repeat(4 * channels[channels >= 0], 2)])


def _channels(part: _Part) -> Int64:
    """Return the channels along the axis of each operator's weights, -1 where they are not of rank 4."""
    columns = part.subgraph.columns
    inputs, shapes = columns.operator_inputs, columns.tensor_shape
    axes = np.array([_CHANNEL_AXES.get(name, -1) for name in part.names], np.int64)[columns.operator_opcode]
    found = np.full(len(axes), -1)
    rows = np.flatnonzero((axes >= 0) & (inputs.lengths > 1))
    tensors = inputs.values[inputs.offsets[rows] + 1]
    rows, tensors = rows[tensors >= 0], tensors[tensors >= 0]
    full = shapes.offsets[tensors + 1] - shapes.offsets[tensors] == 4
    rows, tensors = rows[full], tensors[full]
    found[rows] = shapes.values[shapes.offsets[tensors] + axes[rows]]
    return found


def _fully_connected(node: Node) -> list[int]:
    channels = node.quantized_channels(1)
    quantized = node.type(0) in (TensorType.INT8, TensorType.INT16)
    return [4 * channels] * 2 if quantized and channels > 1 else []


def _softmax(node: Node) -> list[int]:
    return [_SOFTMAX_TABLE] * 2 if node.type(0) == TensorType.INT16 else []


def _output_shape(node: Node) -> list[int]:
    return [4 + 4 * len(node.output_shape())]


def _batch_matmul(node: Node) -> list[int]:
    quantized = node.type(0) in (TensorType.INT8, TensorType.INT16)
    transposed = [(0, bool(node.attribute("adj_x"))), (1, not node.attribute("adj_y"))]
    copies = [
        (_EVAL_TENSOR, 4 + 4 * len(node.shape(slot)), node.size(slot)) for slot, made in transposed if made
    ]
    return [28] * quantized + [size for copy in copies for size in copy] + _output_shape(node)


def _if_int8(size: int) -> Callable[[Node], list[int]]:
    return lambda node: [size] if node.type(0) == TensorType.INT8 else []


_CHANNEL_AXES: Final = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}
_PREPARED: Final[dict[str, Callable[[Node], list[int]]]] = {
    "FULLY_CONNECTED": _fully_connected,
    "SOFTMAX": _softmax,
    "GATHER": _output_shape,
    "GATHER_ND": _output_shape,
    "BATCH_MATMUL": _batch_matmul,
    "ADD_N": _if_int8(40),
    "CUMSUM": _if_int8(36),
    "LOG_SOFTMAX": _if_int8(40),
}


def _finish(graph: Graph, scratch_buffers: int) -> Iterator[Allocation]:
    """Yield handles of scratch buffers, variables, and the tensors of inputs and outputs."""
    if scratch_buffers:
        yield _POINTER * scratch_buffers, _POINTER
    for subgraph in graph.subgraphs:
        columns = subgraph.columns
        yield from ((size, _BUFFER) for size in columns.tensor_bytes[columns.tensor_is_variable].tolist())
    main = graph.subgraphs[0]
    for tensors in (main.inputs, main.outputs):
        yield _POINTER * len(tensors), _BUFFER
        for tensor in tensors:
            yield _TENSOR, _POINTER
            scales, zero_points = main.columns.quantization_lengths(tensor)
            if scales and zero_points:
                yield _QUANTIZATION, _POINTER
                yield 4 + 4 * scales, 4
