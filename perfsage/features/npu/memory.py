"""What lies in an NPU's SRAM while each operator runs, as its compiler plans it, but for weights.

Tensors lie in bricks or as the file has them, share memory (`sharing`), and live from the operator that
makes them to the last one that reads them. A softmax, which becomes many operators, needs room for integers
of 32 bits. Against Vela's own tables for 124 networks on U55-128 three of four peaks were exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.broken_rooms import BETWEEN, EXCHANGED, broken_rooms
from perfsage.features.npu.cascades import Ranges, crossing
from perfsage.features.npu.chains import chains
from perfsage.features.npu.deep_formats import deep_formats
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE, in_rows, tensor_formats
from perfsage.features.npu.inner_rooms import ACTIVATED, MEANT, inner_rooms, turned_room
from perfsage.features.npu.mates import with_mates
from perfsage.features.npu.recurrent_memory import recurrent_room
from perfsage.features.npu.reductions_memory import reduction_room
from perfsage.features.npu.resizing_rooms import HALF, RIMMED, resizing_rooms
from perfsage.features.npu.sharing import Sharing, base_of, sharing_of
from perfsage.features.npu.softmax_rooms import softmax_room
from perfsage.features.npu.work import CROSSING_BITS, Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.lifetimes import NEVER, Lifetimes, lifetimes, live_bytes

Flags = NDArray[np.bool_]
Int64 = NDArray[np.int64]

LIVE_NAMES = (
    "block_live_bytes",
    "inner_live_bytes",
    "chained_live_bytes",
    "chained_inner_live_bytes",
)
"""For U55 and U65 all that is in SRAM, then all but what lies in DRAM at a graph's ends; the same for U85."""


def npu_live(
    subgraph: Subgraph, operands: Operands, refused: Flags
) -> tuple[Float64, Ranges, Float64, Int64]:
    """Return float64[n, len(LIVE_NAMES)], the ranges of the last of these, and each tensor's bytes.

    `refused` bool[n, 2] is left to the CPU by U55 and by U85. The last are the bits of CROSSING_BITS for
    tensors that are alive while the CPU works, int64[tensors + 1].
    """
    crossed = np.zeros(operands.absent + 1, dtype=np.int64)
    rows = [in_rows(subgraph, operands, u85=u85) for u85 in (False, True)]
    alike = (refused[:, 0] == refused[:, 1]).all() and (rows[0] == rows[1]).all()
    made, lives = np.empty((len(refused), len(LIVE_NAMES))), lifetimes(subgraph)
    for generation in (0, 1):
        outside = refused[:, generation]
        if generation == 0 or not alike:
            formats = tensor_formats(subgraph, operands, outside, rows[generation])
            base = base_of(subgraph, operands, outside)
        u85 = bool(generation)
        owner = chains(subgraph, operands, outside, base.owner).root[base.owner] if u85 else base.owner
        stored = deep_formats(subgraph, operands, formats, owner, u85=u85)
        size = _sizes(subgraph, operands, stored)
        shared = sharing_of(subgraph, operands, outside, stored, base, chained=u85)
        sizes = np.where(shared.hidden, 0.0, np.stack([size, np.where(stored == EDGE, 0.0, size)]))
        rooms = _rooms(subgraph, operands, outside, stored, u85=u85)
        both = _live(subgraph, operands, lives, shared, sizes, rooms, outside)
        ranges = both[-1][1]
        there = crossing(ranges.first, ranges.last, outside)[ranges.root]
        far = np.zeros(len(there), dtype=np.bool_)
        far[shared.same[there | (stored == EDGE)]] = True
        apart = with_mates(subgraph, operands, outside, shared.same, owner, far)
        if apart.any():
            shared = sharing_of(subgraph, operands, outside, stored, base, chained=u85, apart=apart)
            sizes[1, apart[shared.same]] = 0.0
            both[-1] = _live(subgraph, operands, lives, shared, sizes, rooms, outside)[-1]
            ranges = both[-1][1]
            there = apart[shared.same] | crossing(ranges.first, ranges.last, outside)[ranges.root]
        crossed |= np.where(there, CROSSING_BITS[generation], 0)
        made[:, 2 * generation : 2 * generation + 2] = np.stack([live for live, _ in both], axis=1)
        for room in (
            recurrent_room(subgraph, operands, outside, sizes, u85=u85),
            reduction_room(subgraph, operands, outside, stored, size, u85=u85),
            turned_room(subgraph, operands, refused, u85=u85),
        ):
            made[:, 2 * generation : 2 * generation + 2] += room
    return made, ranges, size, crossed


def _sizes(subgraph: Subgraph, operands: Operands, formats: Int64) -> Float64:
    """Return the bytes of each tensor, float64[tensors + 1]."""
    size = np.append(np.maximum(subgraph.columns.tensor_bytes, 0), 0).astype(np.float64)
    channels = operands.dimensions[:, 3]
    return round_up(np.where(formats == BRICKS, size * (round_up(channels, BRICK) / channels), size), BRICK)


def _rooms(
    subgraph: Subgraph, operands: Operands, refused: Flags, formats: Int64, *, u85: bool
) -> dict[str, tuple[Flags, Float64]]:
    """Return which operators need room beside what they read (`beside`) or instead of it, and how much."""
    instead = operands.is_type("SOFTMAX") & ~refused
    softmax = softmax_room(operands, u85=u85)
    rooms = {"instead": (instead, softmax)} | broken_rooms(operands, refused, u85=u85)
    rooms |= inner_rooms(subgraph, operands, refused, formats, u85=u85)
    if not u85:
        rooms |= resizing_rooms(subgraph, operands, refused)
    return {name: room for name, room in rooms.items() if room[0].any()}


def _live(
    subgraph: Subgraph,
    operands: Operands,
    lives: Lifetimes,
    shared: Sharing,
    sizes: Float64,
    rooms: dict[str, tuple[Flags, Float64]],
    refused: Flags,
) -> list[tuple[Float64, Ranges]]:
    """Return the bytes alive at each operator and of what, for each of `sizes` float64[2, tensors + 1].

    The second time without what is there while the CPU works, which finds nothing in SRAM.
    """
    columns, rows = subgraph.columns, np.arange(len(operands.type))
    alive = (lives.first > NEVER) & ~columns.tensor_is_variable & ~columns.tensor_is_constant
    first, last = np.maximum(lives.first, subgraph.spans[0]), lives.last.copy()
    part, whole = shared.early.T
    np.minimum.at(first, whole, first[part])
    last[part] = first[part]
    root = shared.root[:-1][alive]
    begin, end = np.full(sizes.shape[1], len(rows)), np.full(sizes.shape[1], -1)
    np.minimum.at(begin, root, first[alive])
    np.maximum.at(end, root, last[alive])
    data, result = shared.root[operands.data], shared.root[operands.result]
    dies, begins = end[data] == rows, begin[result] == rows
    made = []
    for inner, each in enumerate(sizes):
        bytes_ = np.zeros(len(each))
        np.maximum.at(bytes_, root, each[:-1][alive])
        if inner:
            bytes_[crossing(begin, end, refused)] = 0.0
        used = np.flatnonzero((end >= begin) & (bytes_ > 0))
        counted = live_bytes(begin[used], end[used], bytes_[used].astype(np.int64), len(rows))
        live = alone = counted.astype(np.float64)
        dying, born = np.where(dies, bytes_[data], 0.0), np.where(begins, bytes_[result], 0.0)
        replaced = dict.fromkeys(("instead", EXCHANGED), dying + born) | {"beside": born}
        replaced[RIMMED] = replaced[HALF] = replaced[MEANT] = np.minimum(dying, born)
        for name, (there, room) in rooms.items():
            if name in (BETWEEN, ACTIVATED):
                live = np.where(there & (inner == (name == ACTIVATED)), live + room, live)
                continue
            least = 0.0 if name in (RIMMED, HALF, MEANT) else live
            live = np.where(there, np.maximum(least, live - replaced[name] + room), live)
        made.append((live, Ranges(shared.root, begin, end, bytes_, alone)))
    return made
