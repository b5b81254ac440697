"""How many bytes an NPU's code makes of weights and of the zeros that fill up its microblocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding_palettes import own_palette
from perfsage.features.coding_runs import common_share, run_bits, run_chance
from perfsage.features.coding_zeros import Float64, Padding
from perfsage.features.statistics import UNKNOWN_SHARE, WEIGHT_COLUMNS

_HEAD_BITS = 39.0
"""What begins and ends a stream, without a palette."""
_CHUNK_BITS = 6.0
"""What the last twelve quotients that come together are filled up with on average, those of weights and those
of runs; of several streams, what palettes by chance take has one of them."""
_STREAM_BITS = 128.0
_RUN_PARAMETERS = 4


def coded_share(statistics: NDArray[np.float32]) -> Float64:
    """Return the coded bytes of each byte of weights without any padding, float64[n]."""
    one = np.ones((len(statistics), 1))
    bits = _bits(one, np.zeros_like(one), one, _columns(statistics), Padding())[:, 0] / 8.0
    return np.where(statistics[:, 0] > 0, bits, UNKNOWN_SHARE)


def coded_bytes(
    weights: Float64,
    elements: Float64,
    streams: Float64,
    idle: Float64,
    statistics: NDArray[np.float32],
    padding: Padding = Padding(),
) -> Float64:
    """Return float64[n, d]: bytes of `elements` [n, d], of which `weights` [n, d] are not padding.

    They come in `streams` [n, d], each a multiple of 16 bytes; those of `idle` [n, d] hold padding alone.
    """
    rows = np.flatnonzero((weights.max(axis=1) > 0) & (elements.max(axis=1) > 0))
    made = np.zeros(elements.shape)
    streams = np.broadcast_to(streams, elements.shape)[rows]
    busy = streams - idle[rows]
    filled = elements[rows] * busy / streams
    padding = padding.take(rows, elements.shape)
    made[rows] = _coded(weights[rows], filled, busy, _columns(statistics[rows]), padding)
    made[rows] += uniform_bytes(elements[rows] / streams) * idle[rows]
    return made


def uniform_bytes(elements: Float64) -> Float64:
    """Return the bytes of a stream whose elements are all alike, such as the ones of a mean: a bit each."""
    return np.ceil((elements + _HEAD_BITS) / _STREAM_BITS) * _STREAM_BITS / 8.0


def piece_bytes(statistics: NDArray[np.float32]) -> Float64:
    """Return what cutting a stream in two adds, float64[n, 1]: head, palette, and half of an alignment."""
    palette = _columns(statistics)["palette"] * 256.0
    return np.asarray((palette + _HEAD_BITS + _STREAM_BITS / 2.0) / 8.0)


def _coded(
    weights: Float64, elements: Float64, streams: Float64, columns: dict[str, Float64], padding: Padding
) -> Float64:
    bits = _bits(weights, np.maximum(elements - weights, 0.0), weights / streams, columns, padding)
    bits = np.where(columns["known"] > 0, bits, 8.0 * UNKNOWN_SHARE * weights)
    bits = (
        bits / streams
        + columns["palette"] * 256.0
        + own_palette(weights, weights / streams, columns, padding)
    )
    each = np.ceil((bits + _HEAD_BITS + np.where(streams > 1.0, 1.0, 2.0) * _CHUNK_BITS) / _STREAM_BITS)
    return np.where(elements > 0, each * streams * _STREAM_BITS / 8.0, 0.0)


def _columns(statistics: NDArray[np.float32]) -> dict[str, Float64]:
    """Return each column of WEIGHT_COLUMNS without its prefix, float64[n, 1]."""
    table = statistics.astype(np.float64)
    return {name.removeprefix("weight_"): table[:, i : i + 1] for i, name in enumerate(WEIGHT_COLUMNS)}


def _bits(
    weights: Float64, added: Float64, each: Float64, columns: dict[str, Float64], padding: Padding
) -> Float64:
    """Return the bits of weights and `added` zeros: zeros like other values, or as runs where these are many.

    Zeros among the weights are taken to be independent, those of the padding to come together. `each` stream
    has so many weights.
    """
    share = np.minimum(columns["sparsity"], 1.0 - 1e-6)
    zero = 8.0 * columns["zero"]
    if padding.clumps is not None:
        zero = padding.clumps.each(zero, columns["palette"] > 0)
    plain = 8.0 * weights * columns["plain"] + added * zero
    zeros, others = weights * share, weights * (1.0 - share)
    in_runs = added + zeros * (1.0 - (1.0 - share) ** 2)
    common = common_share(weights, each, columns)
    runs = run_chance(zeros + added, common * weights, weights / np.maximum(each, 1.0))
    runs = np.where(in_runs >= (zeros + added) / 2, runs, 0.0)
    clumped = added / np.maximum(others, 1.0)
    lengths = first = run_bits(share, clumped, 0)
    gaps = padding.clumps if padding.clumps is not None and padding.clumps.gap.any() else None
    for exponent in range(1, _RUN_PARAMETERS):
        bits = run_bits(share, clumped, exponent)
        if gaps is not None:
            bits = bits - gaps.rest(share, exponent)
        lengths = np.minimum(lengths, bits)
    lengths = np.where(padding.at_end, first, lengths)
    return plain + runs * (others * (8.0 * columns["nonzero"] + lengths) - plain)
