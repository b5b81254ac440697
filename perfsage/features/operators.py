"""The operators of one subgraph as rows: shapes, types, attributes, costs and weights' statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.arrays import ACCELERATOR_COLUMNS, PHYSICAL_COLUMNS
from perfsage.features.blocks import block_costs, spanned_macs
from perfsage.features.coding import coded_share
from perfsage.features.cpu import cpu_costs
from perfsage.features.npu.asked import REFERENCES
from perfsage.features.npu.estimate import npu_estimate
from perfsage.features.operands import Operands, operator_flags, windows
from perfsage.features.statistics import WEIGHT_COLUMNS, weight_columns
from perfsage.features.types import type_index
from perfsage.features.wiring import edges
from perfsage.graph import Subgraph
from perfsage.graph.costs import operator_costs
from perfsage.graph.lifetimes import lifetimes
from perfsage.graph.schema import CUSTOM, operator_name

_OUTPUT_SHAPE, _INPUT_SHAPE = ("out_n", "out_h", "out_w", "out_c"), ("in_h", "in_w", "in_c")
_SHAPES = (*_OUTPUT_SHAPE, *_INPUT_SHAPE, "kernel_h", "kernel_w", "kernel_c", "second_elements")
_COUNTS = ("inputs", "outputs", "constant_inputs", "successors")
_ATTRIBUTES = ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor", "depth_multiplier")
_EXACT = ("macs", "elementwise_ops", "read_bytes", "written_bytes", "weight_bytes")
_WASTES = {
    "out_h": (2, 4, 8),
    "out_w": (2, 4, 8, 16),
    "out_c": (4, 8, 16, 32, 64),
    "kernel_c": (4, 8, 16, 32, 64),
}
_MULTIPLES = np.array(
    [multiple for multiples in _WASTES.values() for multiple in multiples], dtype=np.float64
)
_WASTED = np.repeat([_SHAPES.index(name) for name in _WASTES], [len(m) for m in _WASTES.values()])

_LOGGED = tuple(
    name for name in PHYSICAL_COLUMNS if name not in ACCELERATOR_COLUMNS or name.endswith(REFERENCES)
)
_TAKEN = [PHYSICAL_COLUMNS.index(name) for name in _LOGGED]
_BRICKS = PHYSICAL_COLUMNS.index("block_live_bytes")
LOG_COLUMNS = (*_LOGGED, *_SHAPES, *_COUNTS, *_ATTRIBUTES)
"""These hold log(1 + x)."""
PLAIN_COLUMNS = (
    "intensity",
    "macs_per_output",
    "block_waste",
    "bricks_of_live",
    *(f"waste_{name}_{k}" for name, multiples in _WASTES.items() for k in multiples),
    "waste_kernel_2",
    "waste_kernel_4",
    *(f"{role}_bytes_per_element" for role in ("data", "result", "weights")),
    *(f"{role}_float" for role in ("data", "result", "weights")),
    "padding_valid",
    "activation_relu",
    "activation_relu6",
    "activation_other",
    "data_constant",
    "second_constant",
    "broadcast",
    "cost_unknown",
    "refused_u55",
    "refused_u85",
    *WEIGHT_COLUMNS,
    "live_of_peak",
    "block_live_of_peak",
    "log_block_peak",
)
NODE_COLUMNS = (*LOG_COLUMNS, *PLAIN_COLUMNS)


@dataclass(frozen=True, slots=True)
class SubgraphRows:
    """The rows of a subgraph, or of several that were joined: arrays as in GraphFeatures, edges by row.

    `float_operators`, `computing` and `unknown` are bool[n]: which operators compute with floats, which do
    more than change types, and whose cost is not known.
    """

    type_index: NDArray[np.int64]
    type_names: NDArray[np.str_]
    node: NDArray[np.float32]
    physical: NDArray[np.float64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    float_operators: NDArray[np.bool_]
    computing: NDArray[np.bool_]
    unknown: NDArray[np.bool_]


def subgraph_rows(subgraph: Subgraph, *, weights: bool) -> SubgraphRows:
    """Return every operator of `subgraph` as a row; columns that need the whole graph are left at zero."""
    operands, costs = Operands(subgraph), operator_costs(subgraph)
    columns, count = subgraph.columns, len(operands.type)
    shapes = operands.shapes(windows(subgraph))
    statistics = weight_columns(subgraph, operands.weight, weights)
    exact = np.maximum([getattr(costs, name) for name in _EXACT], 0).T.astype(np.float64)
    spanned = spanned_macs(operands, shapes, exact[:, 0], columns)
    refused, npu = npu_estimate(subgraph, operands, statistics, spanned)
    physical = np.concatenate([_known(subgraph, operands, exact, shapes, statistics), npu], axis=1)
    source, target = edges(columns)
    node = np.zeros((count, len(NODE_COLUMNS)), dtype=np.float32)
    counts = [operands.inputs, operands.outputs, operands.constants, np.bincount(source, minlength=count)]
    attributes = [columns.attribute(name) for name in _ATTRIBUTES]
    logs = np.concatenate([physical[:, _TAKEN], shapes, np.stack([*counts, *attributes], axis=1)], axis=1)
    # In place, as below: large temporary arrays are new pages of memory each time.
    node[:, : len(LOG_COLUMNS)] = np.log1p(np.maximum(logs, 0.0, out=logs), out=logs)
    types = operands.element_types()
    plain = _plain(operands, physical, shapes)
    flags = _flags(subgraph, operands, shapes, ~costs.known)
    filled = np.concatenate([plain, types, flags, refused, statistics], axis=1)
    node[:, len(LOG_COLUMNS) : len(LOG_COLUMNS) + filled.shape[1]] = filled
    computing = ~operator_flags(("QUANTIZE", "DEQUANTIZE", "CAST"))[operands.type]
    indices, names = _types(subgraph)
    return SubgraphRows(
        type_index=indices,
        type_names=names,
        node=node,
        physical=physical,
        source=source,
        target=target,
        float_operators=types[:, 3:5].any(axis=1) & computing,
        computing=computing,
        unknown=~costs.known,
    )


def _known(
    subgraph: Subgraph,
    operands: Operands,
    exact: NDArray[np.float64],
    shapes: NDArray[np.float64],
    statistics: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return PHYSICAL_COLUMNS but those of NPUs, float64[n, ...], of which `exact` are the first."""
    sizes = np.append(np.maximum(subgraph.columns.tensor_bytes, 0), 0).astype(np.float64)
    weight_bytes = np.where(operands.has_weight & (exact[:, 4] > 0), sizes[operands.weight], 0.0)
    blocks = block_costs(operands, shapes, exact[:, 0], weight_bytes)
    blocks[:, 2] *= coded_share(statistics)
    lives = lifetimes(subgraph)
    costs_of_cpu = cpu_costs(subgraph, operands, shapes, exact, lives)
    return np.concatenate([exact, lives.live_bytes[:, None], blocks, costs_of_cpu], axis=1)


def _plain(
    operands: Operands, physical: NDArray[np.float64], shapes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the ratios, from `intensity` to `waste_kernel_4`, as logarithms."""
    macs, elementwise, read, written = physical[:, 0], physical[:, 1], physical[:, 2], physical[:, 3]
    sizes = shapes[:, _WASTED]
    kernel = (shapes[:, 7] * shapes[:, 8])[:, None]
    ratios = [
        ((macs + elementwise + 1.0) / (read + written + 1.0))[:, None],
        1.0 + (macs / shapes[:, :4].prod(axis=1))[:, None],
        ((physical[:, 6] + 1.0) / (macs + 1.0))[:, None],
        ((physical[:, _BRICKS] + 1.0) / (physical[:, 5] + 1.0))[:, None],
        np.ceil(sizes / _MULTIPLES) * _MULTIPLES / sizes,
        np.ceil(kernel / [2.0, 4.0]) * [2.0, 4.0] / kernel,
    ]
    return np.asarray(np.log(np.concatenate(ratios, axis=1)))


def _flags(
    subgraph: Subgraph, operands: Operands, shapes: NDArray[np.float64], unknown: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the columns from `padding_valid` to `cost_unknown`."""
    columns = subgraph.columns
    activation = columns.attribute("fused_activation_function")
    relu, relu6 = activation == 1, activation == 3
    binary = (operands.second != operands.absent) & ~operands.has_weight
    flags = [
        columns.attribute("padding"),
        relu,
        relu6,
        (activation > 0) & ~relu & ~relu6,
        operands.constant[operands.data],
        operands.has_weight,
        binary & (shapes[:, 10] != operands.elements[operands.data]),
        unknown,
    ]
    return np.stack(flags, axis=1).astype(np.float64)


def _types(subgraph: Subgraph) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return the type index and the type name of each operator, looking each opcode up once."""
    columns = subgraph.columns
    builtin = np.zeros(len(columns.operator_custom_code), dtype=np.int64)
    builtin[columns.operator_opcode] = columns.operator_type
    indices, names = [], []
    for code, custom in zip(builtin.tolist(), columns.operator_custom_code, strict=True):
        indices.append(type_index(code, custom))
        names.append((custom or "CUSTOM") if code == CUSTOM else operator_name(code))
    opcode = columns.operator_opcode
    return np.array(indices, dtype=np.int64)[opcode], np.array(names)[opcode]
