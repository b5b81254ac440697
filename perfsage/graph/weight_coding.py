"""How small an NPU's lossless code makes a tensor of 8-bit weights, from how often each value occurs.

Ethos-U codes weights by Golomb and Rice: the up to 32 most frequent values through a palette, others by their
magnitude, or all of them with equally many bits; zeros as runs where there are enough. Arm's encoder
(`mlw_encode.cpp` of Vela 5) chooses the parameters slice by slice; here one choice holds for a tensor, and
zeros come independently of each other. On 84 convolutions with Gaussian weights that need no padding, the
code's size was within 0.3 % of Vela's for all with more than 10 KB.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from perfsage.graph.flatbuffer import Array

PALETTE = 32
_DIVISORS = np.arange(6)
_MOST_UNARY = 31
_SWITCH_BITS = 40.0
"""What a value costs that a parameter cannot code: a slice of its own."""
_POSITION_BITS = 10
_POSITIONS = (1 << _POSITION_BITS) - 1
_MOST_POSITIONS = 512
_BEYOND = np.int32((1 << 31) - 1)


class Coding(NamedTuple):
    """Columns over tensors: float64[t] each.

    `plain_bits` of each weight where zeros are coded like other values, `zero_bits` of each zero more where
    these are the most frequent, `nonzero_bits` of each other value where zeros are runs, `common_share` of
    the most frequent other value, and `palette_bits` of the palette.
    """

    plain_bits: Array
    zero_bits: Array
    nonzero_bits: Array
    common_share: Array
    palette_bits: Array


def weight_coding(histogram: Array, lowest: int, zeros: Array) -> Coding:
    """Return the coding of `histogram` int32[t, 256], from `lowest` on; `zeros` are zero points."""
    found = _coding(_by_magnitude(histogram, lowest, zeros))
    return Coding(*found.astype(np.float32).astype(np.float64))


def _by_magnitude(histogram: Array, lowest: int, zeros: Array) -> Array:
    """Return counts in the order 0, (none), 1, -1, 2, -2 and so on, counted from each zero point."""
    if len(zeros) and (zeros == zeros[0]).all():
        order, absent = _order(lowest - int(zeros[0]))
        counts: Array = histogram.take(order, axis=1)
        counts[:, absent] = 0
        return counts
    values = _values(_MOST_POSITIONS)
    columns = values + (zeros - lowest)[:, None]
    there = (columns >= 0) & (columns < 256) & (np.arange(len(values)) != 1)
    found: Array = np.take_along_axis(histogram, np.clip(columns, 0, 255), axis=1)
    return np.where(there, found, 0).astype(np.int32)


@cache
def _order(first: int) -> tuple[Array, Array]:
    """Return the column of each position where the first counts `first`, and positions without one."""
    values = _values(2 * max(abs(first), abs(first + 255), 1) + 2)
    absent = (values < first) | (values > first + 255)
    absent[1] = True
    return np.clip(values - first, 0, 255), np.flatnonzero(absent)


def _values(count: int) -> Array:
    positions = np.arange(count)
    return np.where(positions & 1, -(positions >> 1), positions >> 1)


def _coding(counts: Array) -> Array:
    """Return float64[5, t] in the order of Coding; `counts` int32[t, w] as `_by_magnitude` orders them."""
    keys = counts << _POSITION_BITS
    keys |= np.arange(counts.shape[1], dtype=np.int32)
    # A row for each rank: what looks at all ranks of a tensor is fast along the first axis.
    best = np.ascontiguousarray(np.sort(keys, axis=1)[:, : -PALETTE - 3 : -1].T)
    # Without zeros the palette has room for one value more.
    ahead = np.logical_and.accumulate((best & _POSITIONS) > 0, axis=0)
    without = np.where(ahead[:-1], best[:-1], best[1:])
    floats = counts.astype(np.float32)
    count = floats.sum(axis=1)
    total = np.maximum(count, 1)
    plain, zero, palette = _symbols(keys, floats, count, best[:-1])
    others = count - floats[:, 0]
    keys[:, 0] = floats[:, 0] = 0
    nonzero = _symbols(keys, floats, others, without)[0]
    common = without[0] >> _POSITION_BITS
    return np.stack([plain / total, zero, nonzero / np.maximum(others, 1), common / total, palette])


def _symbols(keys: Array, counts: Array, count: Array, best: Array) -> tuple[Array, Array, Array]:
    """Return the bits of all values, of a zero more, and of the palette, float64[t] each.

    `keys` int32[t, w] are `counts` float32[t, w] and positions in one, `count` float32[t] their sums and
    `best` [PALETTE + 1, t] the largest keys. Counts are at most 2 ** 16, so that sums of bits are exact.
    """
    frequent = best >> _POSITION_BITS
    fits, best, frequent = frequent[PALETTE] == 0, best[:PALETTE], frequent[:PALETTE]
    size = (frequent > 0).sum(axis=0)
    palette = frequent.sum(axis=0) >= count // 2
    first = (keys[:, : _MOST_UNARY + 1] >> _POSITION_BITS > 0).argmax(axis=1)
    shift = np.where(palette, PALETTE, 0) - np.where(counts[:, :_MOST_UNARY].any(axis=1), first, _MOST_UNARY)
    least = np.where(palette, best[-1], _BEYOND)
    bits = np.empty((2 * len(_DIVISORS) + 1, len(counts)))
    bits[:-1] = _direct(keys, counts, least, shift).T
    widest = counts.shape[1] - 1 - (counts > 0)[:, ::-1].argmax(axis=1)
    if palette.any():
        bits[:-1] += _costs(0)[:PALETTE].T @ (frequent * palette).astype(np.float32)
        widest = np.where(palette, np.where(frequent > 0, best & _POSITIONS, 0).max(axis=0), widest)
    width = np.maximum(np.ceil(np.log2(widest + 1.0)), 2.0)
    plain = np.where(fits, np.ceil(np.log2(np.maximum(size, 2))), np.inf)
    plain = np.where(palette, plain, width)
    bits[-1] = plain * count
    chosen = bits.argmin(axis=0)
    zero = np.where(chosen < len(bits) - 1, _costs(0)[0, np.minimum(chosen, 11)], plain)
    return bits.min(axis=0), zero, np.where(palette, size * width, 0.0)


def _direct(keys: Array, counts: Array, least: Array, shift: Array) -> Array:
    """Return the bits of values outside the palette, float32[t, 12], each row with its shift.

    Values of the palette are those with keys of `least` [t] and more.
    """
    bits = np.empty((len(counts), 2 * len(_DIVISORS)), dtype=np.float32)
    for value in np.unique(shift).tolist():
        rows = np.flatnonzero(shift == value)
        direct = counts if len(rows) == len(counts) and value <= 0 else counts[rows]
        # Only a palette shifts what is outside it by a positive number.
        if value > 0:
            direct *= keys[rows] < least[rows, None]
        bits[rows] = direct @ _costs(value)[: counts.shape[1]]
    return bits


@cache
def _costs(shift: int) -> Array:
    """Return the bits of each value for each parameter, float32[1024, 12]: whole and cut-off quotients."""
    quotient = np.maximum(np.arange(1024) + shift, 0)[:, None] >> _DIVISORS
    whole = np.where(quotient > _MOST_UNARY, _SWITCH_BITS, quotient + 1.0 + _DIVISORS)
    cut = np.where(quotient > 2, _SWITCH_BITS, np.minimum(quotient + 1.0, 2.0) + _DIVISORS)
    return np.concatenate([whole, cut], axis=1).astype(np.float32)
