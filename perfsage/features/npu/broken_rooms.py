"""The room that operators need for integers of 32 bits which Vela breaks up into several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import BRICK, multiples
from perfsage.features.npu.work import INTEGER_BYTES, Float64, round_up
from perfsage.features.operands import Operands

Flags = NDArray[np.bool_]
BETWEEN = "between"
"""Room for the integers of a product, which are in DRAM where there is any."""
EXCHANGED = "exchanged"
"""Room for images of which two axes are exchanged."""


def broken_rooms(operands: Operands, refused: Flags, *, u85: bool) -> dict[str, tuple[Flags, Float64]]:
    """Return which operators need room beside what they read, and how much, by the kind of room.

    A squared difference holds two of its operands as integers, and on U55 and U65 the one that is being cast;
    or its difference and the square. A product of two tensors holds those of one column.
    """
    rooms = {}
    squares = operands.is_type("SQUARED_DIFFERENCE") & ~refused
    if squares.any():
        plain, first = _bytes(operands, operands.data)
        result, (_, second), (_, whole) = (
            operands.elements[operands.result],
            _bytes(operands, operands.second),
            _bytes(operands, operands.result),
        )
        old = np.maximum(2.0 * whole, first + plain + second)
        rooms["beside"] = (squares, whole + np.maximum(second, result) if u85 else old)
    products = operands.is_type("BATCH_MATMUL") & ~refused
    if products.any() and not u85:
        depth = operands.dimensions[operands.data, 3]
        rows = operands.elements[operands.data] / depth
        rooms[BETWEEN] = (products, INTEGER_BYTES * rows * (depth + 1.0))
    several = (multiples(operands) > 1) & ~refused
    if several.any():
        # Each exchange reads all of one tensor and writes another.
        rooms[EXCHANGED] = (several, 2.0 * round_up(operands.elements[operands.result], BRICK))
    return rooms


def _bytes(operands: Operands, tensors: NDArray[np.int64]) -> tuple[Float64, Float64]:
    """Return the bytes of tensors as integers, in rows and in bricks; a single channel has no padding."""
    depth = operands.dimensions[tensors, 3]
    plain = INTEGER_BYTES * operands.elements[tensors]
    return plain, np.where(depth == 1, plain, plain / depth * round_up(depth, BRICK))
