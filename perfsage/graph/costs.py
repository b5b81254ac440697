"""Exact work and traffic of every operator, counted from shapes and types alone.

Definitions, the usual ones of the field:

- A **MAC** is one multiply-accumulate. Convolutions count every output element times the filter taps that
  it sums, padding included; transposed convolutions every input element times the taps that it is spread
  over, cropped ones included; fully connected and batched matrix products out x depth; recurrent operators
  every weight once per batch entry and time step (peepholes and projections included). Biases and fused
  activations are not counted. Grouped convolutions follow from the filter's own channel count, dilation
  changes nothing, and the element type does not matter.
- An **elementwise operation** is one application of an operator's function to an element, whatever the
  function: one per output element (ADD, RELU, SOFTMAX, ...), per input element (reductions), per window
  position (pooling), four per output element (bilinear resizing). Operators with MACs have none here, and
  those that only move data (RESHAPE, PAD, CONCATENATION, ...) have neither: zero, and known.
- **Bytes read** are those of all operands, constants included, each operand once; **bytes written** those of
  all results. **Weight bytes** and **parameters** (elements) are those of the constant operands that are
  data, not shapes, axes or indices. A constant with two users is counted by both: see `graph_parameters`.

Shapes are those that the file states, which includes the batch of a model whose batch is left open; where
another dimension is left open, the cost is unknown.

A quantity that cannot be known is -1 in the columns and an `Unknown` with its reason in the views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from perfsage.graph.costs_families import REASONS, Family, family_of, tables
from perfsage.graph.costs_formulas import LARGEST, open_tensors, work
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.schema import operator_name
from perfsage.graph.views import Operator

Int64 = npt.NDArray[np.int64]

MAX_CALL_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class OperatorCosts:
    """One row per operator of a subgraph; -1 where a quantity is unknown."""

    macs: Int64
    elementwise_ops: Int64
    parameters: Int64
    read_bytes: Int64
    written_bytes: Int64
    weight_bytes: Int64
    known: npt.NDArray[np.bool_]
    """True where every other column is known."""


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """The cost of one operator, all of it known."""

    macs: int
    elementwise_ops: int
    parameters: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why the cost of an operator is not known."""

    reason: str


@dataclass(frozen=True, slots=True)
class UnknownOperator:
    """An operator that a total leaves out."""

    subgraph: int
    index: int
    type: str
    reason: str


def operator_costs(subgraph: Subgraph) -> OperatorCosts:
    """Count every operator of `subgraph` at once."""
    unsized = open_tensors(subgraph)
    macs, elementwise = work(subgraph, unsized)
    read, weights, parameters, written = _traffic(subgraph, unsized)
    known = np.stack([macs, elementwise, parameters, read, written, weights]).min(axis=0) >= 0
    return OperatorCosts(macs, elementwise, parameters, read, written, weights, known)


def operator_cost(graph: Graph, operator: Operator) -> OperatorCost | Unknown:
    """Return the cost of one operator, or why it is unknown.

    For many operators read the columns of `operator_costs` instead.
    """
    subgraph = graph.subgraphs[operator.subgraph]
    costs = operator_costs(subgraph)
    if not costs.known[operator.index]:
        return Unknown(_reason(subgraph, operator.index))
    columns = (costs.macs, costs.elementwise_ops, costs.parameters)
    traffic = (costs.read_bytes, costs.written_bytes, costs.weight_bytes)
    return OperatorCost(*(int(column[operator.index]) for column in columns + traffic))


def graph_macs(graph: Graph) -> tuple[int, tuple[UnknownOperator, ...]]:
    """Return the MACs of one inference as far as they are known, and the operators left out.

    Starts from the first subgraph. A subgraph that CALL or STABLEHLO_COMPOSITE names is counted once for
    each such operator; bodies of IF, WHILE and CALL_ONCE are left out, since how often they run is not known.
    """
    if not graph.subgraphs:
        return 0, ()
    walk = _MacWalk(graph, {}, {})
    return walk.total(0), tuple(walk.unknown.values())


def graph_parameters(graph: Graph) -> int:
    """Return the elements of all constant data operands, each tensor's buffer counted once."""
    sizes: dict[int, int] = {}
    for subgraph in graph.subgraphs:
        columns = subgraph.columns
        used = columns.operator_inputs.values[_is_parameter(subgraph)]
        elements = columns.tensor_elements[used].tolist()
        for buffer, count in zip(columns.tensor_buffer[used].tolist(), elements, strict=True):
            sizes[buffer] = max(sizes.get(buffer, 0), count)
    return sum(sizes.values())


@dataclass(frozen=True, slots=True)
class _MacWalk:
    """Adds up MACs along calls; each subgraph is counted once and its total reused."""

    graph: Graph
    totals: dict[int, int]
    unknown: dict[tuple[int, int], UnknownOperator]

    def total(self, index: int, depth: int = 0) -> int:
        """Return the known MACs of subgraph `index`, called at `depth`."""
        if index not in self.totals:
            subgraph = self.graph.subgraphs[index]
            macs = operator_costs(subgraph).macs
            called = (self._called(subgraph, row, depth) for row in np.flatnonzero(macs < 0).tolist())
            # Summed as Python integers, which do not overflow.
            self.totals[index] = sum(macs[macs > 0].tolist()) + sum(called)
        return self.totals[index]

    def _called(self, subgraph: Subgraph, row: int, depth: int) -> int:
        operator = subgraph.operators[row]
        callee = _callee(self.graph, operator)
        if callee is not None and depth < MAX_CALL_DEPTH:
            return self.total(callee, depth + 1)
        place = (subgraph.index, row)
        self.unknown[place] = UnknownOperator(*place, operator.type, _reason(subgraph, row))
        return 0


def _traffic(subgraph: Subgraph, unsized: Int64) -> Int64:
    """Return read, weight bytes, parameters and written bytes: int64[4, n_operators]."""
    columns = subgraph.columns
    size = _with_sentinel(columns.tensor_bytes, unsized)
    elements = _with_sentinel(columns.tensor_elements, unsized)
    inputs = columns.operator_inputs.values
    parameter = _is_parameter(subgraph)
    read = size[inputs]
    rows = np.stack([read, np.where(parameter, read, 0), np.where(parameter, elements[inputs], 0)])
    made = np.empty((4, len(columns.operator_type)), np.int64)
    made[:3] = _sum_by_row(rows, columns.operator_inputs.offsets)
    made[3] = _sum_by_row(size[columns.operator_outputs.values][None], columns.operator_outputs.offsets)[0]
    return made


def _with_sentinel(column: Int64, unsized: Int64) -> Int64:
    """Return `column` with a 0 that index -1 (an operand left out) finds; open and absurd sizes are -1."""
    made = np.empty(len(column) + 1, np.int64)
    made[:-1] = column
    made[-1] = 0
    made[made > LARGEST] = -1
    made[unsized] = -1
    return made


def _is_parameter(subgraph: Subgraph) -> npt.NDArray[np.bool_]:
    """Return which operands (one per entry of the inputs' values) are constant data."""
    columns = subgraph.columns
    inputs = columns.operator_inputs
    constant = np.append(columns.tensor_is_constant, False)[inputs.values]
    masks = tables().control_inputs
    control = masks[np.where(columns.operator_type < len(masks) - 1, columns.operator_type, -1)]
    counts = np.diff(inputs.offsets)
    slot = np.arange(len(inputs.values)) - np.repeat(inputs.offsets[:-1], counts)
    is_control = (np.repeat(control, counts) >> np.minimum(slot, 62)) & 1
    return np.asarray(constant & (is_control == 0), np.bool_)


def _sum_by_row(values: Int64, offsets: npt.NDArray[np.integer]) -> Int64:
    """Sum the segments of each row of `values` (k, n); a segment with a negative value becomes -1."""
    sums = np.zeros((2, values.shape[0], values.shape[1] + 1), np.int64)
    np.cumsum(values, axis=1, out=sums[0, :, 1:])
    np.cumsum(values < 0, axis=1, out=sums[1, :, 1:])
    totals, negatives = np.diff(sums[:, :, offsets], axis=2)
    return np.where(negatives > 0, -1, totals)


def _reason(subgraph: Subgraph, row: int) -> str:
    name = operator_name(int(subgraph.columns.operator_type[row]))
    if name in REASONS:
        return REASONS[name]
    operator = subgraph.operators[row]
    left_open = set(open_tensors(subgraph).tolist())
    for kind, tensors in (("input", operator.inputs), ("output", operator.outputs)):
        for slot, index in enumerate(tensors):
            if index in left_open:
                return f"the size of {kind} {slot} is only known at run time"
            if index >= 0 and subgraph.tensors[index].bytes is None:
                return f"{kind} {slot} has no fixed size"
    if family_of(name) is Family.UNKNOWN:
        return "this version does not know the operator"
    return "its operands do not have the shapes that its definition asks for"


def _callee(graph: Graph, operator: Operator) -> int | None:
    """Return the subgraph that runs exactly once when `operator` runs, if there is one."""
    field = {"CALL": "subgraph", "STABLEHLO_COMPOSITE": "decomposition_subgraph_index"}.get(operator.type)
    index = operator.attributes.get(field, 0) if field else 0
    # Subgraph 0 is where an inference starts, so nothing calls it.
    return index if isinstance(index, int) and 0 < index < len(graph.subgraphs) else None
