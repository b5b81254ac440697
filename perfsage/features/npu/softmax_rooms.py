"""What integers of a softmax take in SRAM, and how much of them stays where SRAM is limited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cascades import Ranges
from perfsage.features.npu.formats import BRICK, FEW_CHANNELS
from perfsage.features.npu.softmax import FEW_ELEMENTS
from perfsage.features.npu.softmax_spills import kept_of
from perfsage.features.npu.spills import Spills
from perfsage.features.npu.work import INTEGER_BYTES, SPILL_BYTES, Flags, Float64, round_up
from perfsage.features.operands import Operands

_ROW_BYTES = INTEGER_BYTES * BRICK
"""Bytes of a number that a softmax keeps for each row, in bricks."""


def softmax_room(operands: Operands, *, u85: bool) -> Float64:
    """Return the bytes of each softmax, float64[n]: integers, three for each row, or twice all."""
    _, wide, plain, each, three = _parts(operands)
    return np.asarray(np.maximum(wide + each + np.maximum(three, plain), 0.0 if u85 else 2.0 * (wide + each)))


def limit_softmaxes(
    operands: Operands, refused: Flags, ranges: Ranges, spills: Spills, kept: Float64
) -> None:
    """Put in `kept` float64[n, limits] what softmaxes have in SRAM where they do not fit."""
    for place, limit in enumerate(SPILL_BYTES):
        rows = np.flatnonzero(operands.is_type("SOFTMAX") & ~refused & (kept[:, place] > limit))
        if not len(rows):
            continue
        others = (ranges.live - spills.saved[:, place])[rows]
        near = [spills.beyond[each[rows]] & 1 << place == 0 for each in (operands.data, operands.result)]
        source, result = (ranges.root[each[rows]] for each in (operands.data, operands.result))
        others -= np.where(near[0] & (ranges.last[source] == rows), ranges.bytes[source], 0.0)
        others -= np.where(near[1] & (ranges.first[result] == rows), ranges.bytes[result], 0.0)
        kept[rows, place] = others + _limited(operands, rows, near[0], np.maximum(limit - others, 0.0))


def _limited(operands: Operands, rows: NDArray[np.int64], near: Flags, room: Float64) -> Float64:
    """Return the bytes of what stays of the softmaxes `rows`, whose source is `near`, float64[k]."""
    source, wide, plain, each, three = (part[rows] for part in _parts(operands))
    counts = three / (3.0 * _ROW_BYTES)
    held = np.stack([np.where(near, source, 0.0), wide, plain, three])
    first, exponentials, shifted, integers = held * kept_of(held, counts, room)
    # If not all integers of a row fit, one of them does.
    free = room - exponentials
    one = np.where(three / 3.0 + each <= free, three / 3.0, 0.0)
    beside = np.maximum(shifted, np.maximum(integers, one))
    beside += np.where(beside + each <= free, each, 0.0)
    first += np.where(first + counts <= free, counts, 0.0)
    return np.asarray(exponentials + np.maximum(first, beside))


def _parts(operands: Operands) -> tuple[Float64, Float64, Float64, Float64, Float64]:
    """Return the bytes of a source, float64[n], of its exponentials in bricks and without, and of rows.

    Of these those of a sum for each row, and of the three numbers that follow. What has few channels but more
    than a few elements lies in rows, everything else in bricks.
    """
    depth, elements = operands.dimensions[operands.data, 3], operands.elements[operands.data]
    rows = elements / depth
    shallow = (depth < FEW_CHANNELS) & (elements > FEW_ELEMENTS)
    stored = rows * np.where(shallow, depth, round_up(depth, BRICK))
    wide, plain = (round_up(INTEGER_BYTES * size, BRICK) for size in (stored, elements))
    each = round_up(INTEGER_BYTES * rows * np.where(rows > FEW_ELEMENTS, 1.0, BRICK), BRICK)
    return rows * round_up(depth, BRICK), wide, plain, each, 3.0 * _ROW_BYTES * rows
