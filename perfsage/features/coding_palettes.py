"""Palettes that small streams of weights have of their own, by chance or because they suit them."""

from __future__ import annotations

import numpy as np

from perfsage.features.coding_zeros import Float64, Padding
from perfsage.graph.statistics import MOST_SAMPLE_ELEMENTS, SAMPLE_ELEMENTS, SAMPLED_SHARE
from perfsage.graph.weight_coding import PALETTE

_GAUSSIAN = 4.1327
"""Two to the power of a normal distribution's entropy in bits, over its standard deviation."""
_PALETTE_CHANCE = 42.0
_COVERED_RANGE = 1.75
"""How many weights of a stream are in its palette by chance, and by how much their share varies, over the
root of their number."""
_OWN_PALETTE_BITS, _OWN_PALETTE_LOSS = 180.0, 0.3
"""What a palette by chance takes more than none for a stream, and for each weight of it, and what one
that is chosen for a stream saves at most, and the weights of which it saves half as much. All of these
are what samples of normally distributed weights take, of 64 to 4,096 weights out of 262,144."""
_MOST_SUITED_BITS, _HALF_SUITED = 100.0, 128.0
_FEW_BITS = 4.5
"""What a palette of few weights takes more for each."""


def own_palette(weights: Float64, each: Float64, columns: dict[str, Float64], padding: Padding) -> Float64:
    """Return the bits that a palette of its own adds to `each` stream of so many out of all weights, [n, d].

    There is one where half of the weights are in it, and of few weights more are so by chance. One that is
    chosen for a stream suits it better than one for all weights would.
    """
    read = np.minimum(weights, np.clip(weights / SAMPLED_SHARE, SAMPLE_ELEMENTS, MOST_SAMPLE_ELEMENTS))
    # What was read as a whole says itself whether it has a palette.
    part = (each < 0.9 * read) & (columns["distinct"] * 8.0 > np.log2(PALETTE))
    few = np.maximum(each, 1.0)
    beyond = _covered(columns, read) + _PALETTE_CHANCE / few - 0.5
    by_chance = np.where(part, np.clip(0.5 + beyond * np.sqrt(few) / _COVERED_RANGE, 0.0, 1.0), 0.0)
    added = by_chance * np.minimum(_OWN_PALETTE_BITS + _OWN_PALETTE_LOSS * each, _FEW_BITS * each)
    gain = np.maximum(_suits(each) - _suits(read) * each / np.maximum(read, 1.0), 0.0)
    gain = np.where(part & padding.few, np.maximum(gain, _spared(each, columns)), gain)
    return np.where(columns["known"] > 0, np.where(columns["palette"] > 0, -gain, added), 0.0)


def _spared(each: Float64, columns: dict[str, Float64]) -> Float64:
    """Return the bits that a palette of all of a stream's few values takes less than one of the commonest."""
    values = each * (1.0 - columns["sparsity"]) + 1.0
    common = 256.0 * columns["palette"] + 8.0 * columns["nonzero"] * values
    return np.asarray(common - values * (8.0 * columns["palette"] + np.log2(values)))


def _covered(columns: dict[str, Float64], read: Float64) -> Float64:
    """Return the share of normally distributed weights in a palette, float64[n, d], at most a half.

    The entropy of a sample of `read` [n, d] weights is too low by what Miller and Madow found.
    """
    missing = (np.exp2(8.0 * columns["distinct"]) - 1.0) / (2.0 * np.log(2.0) * np.maximum(read, 1.0))
    deviation = np.maximum(np.exp2(8.0 * columns["entropy"] + missing) / _GAUSSIAN, 1.0)
    x = PALETTE / 2.0 / np.sqrt(2.0) / deviation
    # Close to the error function.
    return np.asarray(np.minimum(np.tanh(1.1284 * x + 0.1009 * x**3), 0.5))


def _suits(weights: Float64) -> Float64:
    """Return the bits that a palette saves by being chosen for just so many weights."""
    return np.asarray(_MOST_SUITED_BITS * weights / (weights + _HALF_SUITED))
