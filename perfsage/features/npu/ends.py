"""Where each operator's data comes from and goes to, and what is done on the way out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.chains import Chains, chains
from perfsage.features.npu.copies import joined_in_place
from perfsage.features.npu.deep_formats import deep_formats
from perfsage.features.npu.deep_shapes import deep_shapes
from perfsage.features.npu.depths import copied_whole, deepened, parts
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.formats import BRICKS, COPIES, EDGE, TABLES, in_rows, tensor_formats
from perfsage.features.npu.fusing import fused, own_activation
from perfsage.features.npu.resizing import BILINEAR, NEAREST, kinds_u85
from perfsage.features.npu.wholes import written_share
from perfsage.features.npu.work import CROSSING_BITS, NOTHING, Flags, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Int64 = NDArray[np.int64]
ELEMENT_TILE, FEW_CHANNELS = 64, 4


@dataclass(frozen=True, slots=True)
class Ends:
    """Columns of `Work` that depend on an operator's neighbours."""

    kind_u85: Int64
    table: Flags
    clamped: Flags
    chained: Float64
    chained_far: Float64
    chained_spill: Int64
    silent: Flags
    source: Int64
    target: Int64
    source_u85: Int64
    target_u85: Int64
    beside_source: Int64
    beside_source_u85: Int64
    source_spill: Int64
    target_spill: Int64
    larger_u85: Float64


def ends_of(
    draft: Draft, subgraph: Subgraph, operands: Operands, refused: Flags, spills: NDArray[np.int64]
) -> Ends:
    """Return the ends of all operators, and drop from the draft what is done while others write.

    `refused` bool[n, 2] goes to the CPU, and `spills` int64[tensors + 1] say what lies in DRAM.
    """
    activation = subgraph.columns.attribute("fused_activation_function")
    table, clamped = np.zeros(len(draft.kind), dtype=np.bool_), (activation > 0) & (activation <= 3)
    clamped &= ~own_activation(subgraph, operands)
    within, makers = fused(subgraph, operands, np.asarray(refused.any(axis=1)))
    owner = np.where(within, makers, np.arange(len(within)))
    functions = operands.is_type(*TABLES)
    table[makers[within & functions]] = True
    clamped[makers[within & ~functions]] = True
    draft.kind[within] = NOTHING
    linked = chains(subgraph, operands, refused[:, 1], owner)
    source, target, beside, alone = _formats(subgraph, operands, refused[:, 0], owner, u85=False)
    source_u85, target_u85, beside_u85, result = _formats(
        subgraph, operands, refused[:, 1], linked.root[owner], u85=True
    )
    chained_far, chained_spill = _chained_far(subgraph, operands, refused[:, 1], linked, spills)
    wholes = written_share(subgraph, operands, refused[:, 1], result, target_u85)
    kind_u85 = kinds_u85(draft.kind, operands.is_type(BILINEAR, NEAREST))
    kind_u85[joined_in_place(subgraph, operands, refused)] = NOTHING
    deep = deepened(subgraph, operands, owner)
    # What others lie beside, or what is a part of another, keeps its shape.
    copied = operands.is_type(*COPIES) & ~deep & (source != BRICKS) & (target != BRICKS)
    if copied.any():
        read, written = parts(subgraph, operands)
        copied[copied_whole(operands)] = False
        _lay_out_elements(draft, copied & ~(read[operands.data] | written[operands.result]))
    _deepen(draft, np.flatnonzero(deep & ~within))
    return Ends(
        kind_u85=np.where(linked.within, NOTHING, kind_u85),
        table=table,
        clamped=clamped,
        chained=linked.length,
        chained_far=chained_far,
        chained_spill=chained_spill,
        silent=linked.silent,
        source=source,
        target=target,
        source_u85=source_u85,
        target_u85=target_u85,
        beside_source=beside,
        beside_source_u85=beside_u85,
        source_spill=spills[operands.data],
        target_spill=spills[alone] & CROSSING_BITS[0] | spills[result] & ~CROSSING_BITS[0],
        larger_u85=np.where(table | clamped, wholes, 1.0),
    )


def _formats(
    subgraph: Subgraph, operands: Operands, refused: Flags, root: Int64, *, u85: bool
) -> tuple[Int64, Int64, Int64, Int64]:
    """Return the formats of data, of result and of second operand of each operator, and its result.

    The last of those that are done at once says where the result goes.
    """
    last = np.arange(len(root))
    np.maximum.at(last, root, np.arange(len(root)))
    result = operands.result[last]
    stored = tensor_formats(subgraph, operands, refused, in_rows(subgraph, operands, u85=u85))
    formats = deep_formats(subgraph, operands, stored, root, u85=u85)
    return formats[operands.data], formats[result], formats[operands.second], result


def _chained_far(
    subgraph: Subgraph, operands: Operands, refused: Flags, linked: Chains, spills: Int64
) -> tuple[Float64, Int64]:
    """Return the elements that what is done on the way out of each operator reads in rows, float64[n].

    And where others come from DRAM in bricks, int64[n] as `spills`.
    """
    made, limits = np.zeros(len(refused)), np.zeros(len(refused), dtype=np.int64)
    rows = np.flatnonzero(linked.within)
    if len(rows):
        formats = tensor_formats(subgraph, operands, refused, in_rows(subgraph, operands, u85=True))
        beside = linked.beside[rows]
        many = ~operands.constant[beside] & (operands.elements[beside] > 1)
        far = (formats[beside] == EDGE) & many
        np.add.at(made, linked.root[rows[far]], operands.elements[beside[far]])
        inside = many & ~far
        np.bitwise_or.at(limits, linked.root[rows[inside]], spills[beside[inside]])
    return made, limits


def _deepen(draft: Draft, rows: Int64) -> None:
    """Work on few channels as on more of them."""
    if len(rows):
        draft.out[rows] = draft.into[rows] = deep_shapes(draft.batch[rows] * draft.out[rows].prod(axis=1))
        draft.batch[rows] = 1.0


def _lay_out_elements(draft: Draft, rows: Flags) -> None:
    """What is copied element by element gets 16 channels where it has few, if that is possible."""
    elements = draft.out.prod(axis=1)
    rows = rows & (elements % ELEMENT_TILE == 0) & (draft.out[:, 2] < FEW_CHANNELS)
    shape = np.stack(
        [np.full(len(elements), 4.0), elements / ELEMENT_TILE, np.full(len(elements), 16.0)], axis=1
    )
    draft.out[rows] = draft.into[rows] = shape[rows]
