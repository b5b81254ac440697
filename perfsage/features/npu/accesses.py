"""How often what is in memory is read and written, as Vela 5 weighs what to keep in SRAM.

Each operator writes its result once, and reads what it reads as often as its blocks do; what is done on
the way out of another neither writes nor reads what is between them.
"""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.cascades import Ranges
from perfsage.features.npu.chains import Chains, chains
from perfsage.features.npu.formats import ALIASES, JOINTS, PARTS
from perfsage.features.npu.fusing import fused
from perfsage.features.npu.work import Flags, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph


def linked_by(subgraph: Subgraph, operands: Operands, refused: Flags) -> Chains:
    """Return what is done on the way out of what, where `refused` bool[n] is what the CPU does."""
    within, maker = fused(subgraph, operands, refused)
    return chains(subgraph, operands, refused, np.where(within, maker, np.arange(len(refused))))


def accesses_of(
    subgraph: Subgraph, operands: Operands, refused: Flags, ranges: Ranges, size: Float64, reads: Float64
) -> Float64:
    """Return the bytes of each root that are read and written, float64[tensors + 1, limits].

    `refused` bool[n] is what the CPU does, `size` float64[tensors + 1] are bytes of tensors, and `reads`
    float64[n, limits] those that each operator reads of its data, 0 where they are as many as there are.
    """
    rows, root = np.arange(len(refused)), ranges.root
    data, second, result = operands.data, operands.second, operands.result
    within, maker = fused(subgraph, operands, refused)
    linked = linked_by(subgraph, operands, refused)
    owner = linked.root[np.where(within, maker, rows)]
    last = rows.copy()
    np.maximum.at(last, owner, rows)
    busy = ~(refused | operands.is_type(*ALIASES, *PARTS, *JOINTS))
    inner = within | linked.within
    made = np.zeros((len(root), reads.shape[1]))
    alone = np.flatnonzero(busy & ~inner)
    written = result[last[alone[~linked.silent[alone]]]]
    np.add.at(made, root[written], size[written, None])
    read = np.where(reads > 0, reads, size[data, None])
    np.add.at(made, root[data[alone]], read[alone])
    for sources, those in ((data, busy & inner), (second, busy)):
        # What comes from the operator that does this one was never in memory.
        there = np.flatnonzero(those & ~(inner & (root[sources] == root[result])))
        np.add.at(made, root[sources[there]], size[sources[there], None])
    table = subgraph.columns.operator_inputs
    joined = (operands.is_type(*JOINTS) & ~refused)[table.row_indices] & (table.values >= 0)
    part, whole = table.values[joined], result[table.row_indices[joined]]
    # What was not written where it belongs is copied.
    copied = np.flatnonzero(root[part] != root[whole])
    for ends in (part[copied], whole[copied]):
        np.add.at(made, root[ends], size[part[copied], None])
    return made
