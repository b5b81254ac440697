"""What of a softmax lies in DRAM on the larger Ethos-U85, because it does not fit into SRAM.

The set is kept that is read and written most, as in `spills`. Integers of a row take a whole brick each.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import BRICK, EDGE
from perfsage.features.npu.softmax import FEW_ELEMENTS, Sizes
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import (
    CROSSING_BITS,
    INTEGER_BYTES,
    SPILL_BYTES,
    Flags,
    Float64,
    Work,
    round_up,
)

_ROW_TENSORS, _ROW_ACCESSES = 3.0, 26.0
"""Tensors with a brick for each row that are alive at once, and how often one of all is read or written."""


@dataclass(frozen=True, slots=True)
class Places:
    """What lies in DRAM, bool[n].

    The `source`, the `exponentials` and what they are `shifted` to, and the integers of each of the `rows`;
    `never` is what does not.
    """

    source: Flags
    exponentials: Flags
    shifted: Flags
    rows: Flags
    never: Flags


def places_of(work: Work, sizes: Sizes, systems: Systems, bricks: Flags) -> Places:
    """Return what lies in DRAM on the accelerator of each row, where the source is in `bricks` or not."""
    outside = (work.source == EDGE) & systems.edge.is_dram
    outside = outside | (work.source_spill & systems.spill_bit > 0)
    read = sizes.rows * np.where(bricks, round_up(work.out_c, BRICK), work.out_c)
    integers = np.where(sizes.rows > FEW_ELEMENTS, _ROW_TENSORS * INTEGER_BYTES * BRICK * sizes.rows, 0.0)
    held = np.stack(
        [np.where(outside, 0.0, read), INTEGER_BYTES * sizes.kept, INTEGER_BYTES * sizes.elements, integers]
    )
    _, exponentials, shifted, rows = ~kept_of(held, sizes.rows, limits_of(systems))
    return Places(outside, exponentials, shifted, rows, np.zeros(len(work), dtype=np.bool_))


def kept_of(held: Float64, rows: Float64, room: Float64) -> Flags:
    """Return what stays in SRAM, bool[4, n], of the bytes float64[4, n] of what `Places` names.

    Exponentials are there all the time; the others, of which the first is beside the largest value of each of
    `rows` float64[n], one after the other.
    """
    elements = held[2] / INTEGER_BYTES
    stored = held[1] / INTEGER_BYTES
    accesses = np.stack([3.5 * stored, 2.0 * stored, 2.1 * elements, _ROW_ACCESSES * rows])
    best = np.full(held.shape[1], -1.0)
    kept = np.zeros(held.shape, dtype=np.bool_)
    for choice in product((True, False), repeat=len(held)):
        stays = np.array(choice)[:, None]
        source, exponentials, shifted, integers = held * stays
        beside = np.maximum(np.maximum(source + rows, shifted), integers)
        score = (accesses * stays).sum(axis=0)
        better = (exponentials + beside <= room) & (score > best)
        best = np.where(better, score, best)
        kept[:, better] = stays
    return kept


def written(bytes_: Float64, beyond: Flags) -> Float64:
    """Return as how many such bytes count, channels last: `beyond` SRAM they come in half a burst."""
    return np.where(beyond, 2.0 * bytes_, bytes_)


def limits_of(systems: Systems) -> Float64:
    """Return the bytes of SRAM for activations, float64[n]; without limit but for the larger U85."""
    limits = np.full(len(systems.spill_bit), np.inf)
    for bit, limit in enumerate(SPILL_BYTES):
        limits[systems.spill_bit & 1 << bit > 0] = limit
    return limits


def turned_spills(work: Work, high: Float64, across: Float64) -> NDArray[np.int64]:
    """Return at which limits of SPILL_BYTES what is transposed lies in DRAM, int64[n]: a bit for each."""
    size = work.out_c * high * round_up(across, BRICK)
    made = np.zeros(len(work), dtype=np.int64)
    for bit, limit in enumerate(SPILL_BYTES):
        near = (work.source != EDGE) & (work.source_spill & (1 << bit | CROSSING_BITS[1]) == 0)
        read = np.where(near, work.out_h * work.out_w * round_up(work.out_c, BRICK), 0.0)
        made |= np.where(size + read > limit, 1 << bit, 0)
    return made
