"""Which tensors share memory on an NPU: renamed and fused results, parts, and what is written in place.

Vela 5 decides so (`live_range.cpp`, and what it makes of padding, concatenations and functions).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.chains import chains
from perfsage.features.npu.formats import ALIASES, ARITHMETIC, EDGE, FUNCTIONS, JOINTS, PARTS
from perfsage.features.npu.fusing import fused
from perfsage.features.npu.padding import absorbed_padding, written_padding
from perfsage.features.npu.schedule import direct_parts
from perfsage.features.npu.stale_slices import contradicted_slices
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
Int64 = NDArray[np.int64]

IN_PLACE = (*ARITHMETIC, *FUNCTIONS, "QUANTIZE", "DIV", "ABS", "NEG", "RELU_N1_TO_1", "RELU_0_TO_1")
"""One element in, one out: these write over an input of the same shape that nobody else reads."""
_LONGEST = 12
"""2 ** 12 tensors may share one buffer one after the other; a damaged graph may even go in circles."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """`root` int64[tensors + 1] names the buffer of each tensor by one of its tensors.

    `same` int64[tensors + 1] is the same but for what is written over something else. `hidden`
    bool[tensors + 1] are those that are never written at all. `early` int64[k, 2] are tensors that
    are copied into another as soon as they are there: (the part, what it becomes part of).
    """

    root: Int64
    same: Int64
    hidden: Flags
    early: Int64


@dataclass(frozen=True, slots=True)
class Base:
    """What is the same on all generations that leave the same operators to the CPU, as in `Sharing`.

    `within` bool[n] are functions that are done while others write, `owner` int64[n] the row that does each.
    """

    root: Int64
    hidden: Flags
    early: Int64
    within: Flags
    owner: Int64


def base_of(subgraph: Subgraph, operands: Operands, refused: Flags) -> Base:
    """Return what shares memory before chains and writing in place; `refused` bool[n] goes to the CPU."""
    root = np.arange(operands.absent + 1)
    hidden, edge = np.zeros((2, len(root)), dtype=np.bool_)
    edge[[*subgraph.inputs, *subgraph.outputs]] = True
    edge |= operands.constant
    _take_parts(subgraph, operands, refused, edge, root)
    early = _join(subgraph, operands, refused, edge, root)
    data, result = operands.data, operands.result
    within, maker = fused(subgraph, operands, refused)
    renamed = operands.is_type(*ALIASES) & ~refused & ~(edge[data] & edge[result])
    written = written_padding(subgraph, operands, refused)
    moved = (within | renamed | written) & (root[data] == data) & ~operands.constant[data]
    hidden[data[within | written]] = True
    root[data[moved]] = result[moved]
    padded = absorbed_padding(subgraph, operands) & (root[result] == result)
    hidden[result[padded]] = True
    root[result[padded]] = data[padded]
    return Base(root, hidden, early, within, np.where(within, maker, np.arange(len(data))))


def sharing_of(
    subgraph: Subgraph,
    operands: Operands,
    refused: Flags,
    formats: Int64,
    base: Base,
    *,
    chained: bool,
    apart: Flags | None = None,
) -> Sharing:
    """Return what shares memory; `refused` as for `base`, `chained` is for U85.

    Nothing is written over what is `apart` bool[tensors + 1], in DRAM.
    """
    root, hidden = base.root.copy(), base.hidden.copy()
    free = (operands.is_type(*IN_PLACE) | _single(subgraph, operands)) & ~refused & ~base.within
    if chained:
        result, rows = operands.result, np.arange(len(free))
        linked = chains(subgraph, operands, refused, base.owner)
        free &= ~linked.within
        last = rows.copy()
        np.maximum.at(last, linked.root, rows)
        passed = (last[linked.root] != rows) & (root[result] == result)
        hidden[result[passed]] = True
        root[result[passed]] = result[last[linked.root[passed]]]
    same = _followed(root.copy())
    if apart is not None:
        formats = np.where(apart[same], EDGE, formats)
    _write_in_place(subgraph, operands, formats, free, root)
    return Sharing(_followed(root), same, hidden, base.early)


def _followed(root: Int64) -> Int64:
    """Return where each tensor comes to by and by, int64[tensors + 1]."""
    for _ in range(_LONGEST):
        further = root[root]
        if (further == root).all():
            break
        root = further
    return root


def _single(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which poolings look at one element."""
    attribute = subgraph.columns.attribute
    one = (attribute("filter_height") == 1) & (attribute("filter_width") == 1)
    return np.asarray(operands.is_type("AVERAGE_POOL_2D", "MAX_POOL_2D") & one)


def _take_parts(subgraph: Subgraph, operands: Operands, refused: Flags, edge: Flags, root: Int64) -> None:
    """Parts are read where they are, unless they or the whole leave the graph."""
    results = subgraph.columns.operator_outputs
    taken = operands.is_type(*PARTS) & ~refused
    taken[contradicted_slices(subgraph, operands)[0]] = False
    values, whole = results.values, operands.data[results.row_indices]
    fixed = operands.constant.copy()
    fixed[[*subgraph.outputs]] = True
    there = taken[results.row_indices] & ~edge[values] & ~fixed[whole]
    root[values[there]] = whole[there]


def _join(subgraph: Subgraph, operands: Operands, refused: Flags, edge: Flags, root: Int64) -> Int64:
    """Parts of a concatenation are written into it, or copied if something else decides where they are."""
    columns = subgraph.columns
    table = columns.operator_inputs
    joined = operands.is_type(*JOINTS) & ~refused
    here = joined[table.row_indices] & (table.values >= 0)
    part, whole = table.values[here], operands.result[table.row_indices[here]]
    direct = direct_parts(subgraph, operands, refused)[here] & (root[part] == part)
    root[part[direct]] = whole[direct]
    made = np.zeros(len(root), dtype=np.bool_)
    made[columns.operator_outputs.values] = True
    early = ~direct & (operands.readers[part] == 1) & ~edge[part] & made[part]
    return np.stack([part[early], whole[early]], axis=1)


def _write_in_place(subgraph: Subgraph, operands: Operands, formats: Int64, free: Flags, root: Int64) -> None:
    """Let each of `free` write over its first operand that allows it."""
    leaving = np.zeros(len(root), dtype=np.bool_)
    leaving[[*subgraph.outputs]] = True
    fixed = leaving | operands.constant | (operands.readers != 1)
    fixed[-1] = True
    result, kinds = operands.result, operands.tensor_type
    # Where others do something on the way out, or it becomes a part, only the last tensor is ever written.
    written = root[root[result]]
    whole = operands.elements[written] == operands.elements[result]
    for source in (operands.data, operands.second):
        alike = (operands.dimensions[source] == operands.dimensions[result]).all(axis=1) & whole
        alike &= (kinds[source] == kinds[written]) & (formats[source] == formats[written])
        over = free & alike & ~fixed[source] & (root[source] == source)
        root[source[over]] = result[over]
        free = free & ~over
