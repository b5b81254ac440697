"""How many bytes an NPU's code makes of weights and of the zeros that fill up its microblocks."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perfsage.features.statistics import UNKNOWN_SHARE, WEIGHT_COLUMNS
from perfsage.graph.statistics import MOST_SAMPLE_ELEMENTS, SAMPLE_ELEMENTS, SAMPLED_SHARE
from perfsage.graph.weight_coding import PALETTE

Float64 = NDArray[np.float64]
Flags = NDArray[np.bool_]

RUN_THRESHOLD = 5.0
"""Zeros are coded as runs where they occur more than so many times as often as any other value."""
_HEAD_BITS = 39.0
"""What begins and ends a stream, without a palette."""
_CHUNK_BITS = 6.0
"""What the last twelve quotients that come together are filled up with on average, those of weights and those
of runs; of several streams, what palettes by chance take has one of them."""
_STREAM_BITS = 128.0
_CLUMP_BITS, _ROOT_BITS = 150.0, 30.0
"""What zeros that come together take beside a bit each: two changes of a parameter, each of which is noticed
after 40 bits and begins a slice. Without a palette it is so much times the root of their number. These are
what normally distributed weights with 32 to 512 zeros in between take."""
_RUN_PARAMETERS = 4
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
_MANY_STREAMS = 4.0
"""So many streams rarely all agree on runs where these are worth about as much as none."""
SECTION = float(1 << 17)
"""Weights that are looked at together."""
_CHANCE = 2.0
"""How many standard deviations the commonest of many values is above what is to be expected."""


@dataclass(frozen=True, slots=True)
class Clumps:
    """Which `share` of zeros come together, float64[n, d], and how many each time, `length` float64[n, d].

    A `gap` of so many zeros, float64[n, d], follows on the weights of each output, of which there are so
    many a `gap`, `weights` float64[n, 1].
    """

    share: Float64
    length: Float64
    gap: Float64
    weights: Float64

    def take(self, rows: NDArray[np.int64]) -> Clumps:
        """Return those of some rows."""
        return Clumps(*(getattr(self, field.name)[rows] for field in fields(self)))

    def each(self, zero: Float64, palette: Flags) -> Float64:
        """Return the bits of a zero on average, [n, d], where `zero` [n, 1] alone takes so many."""
        length = np.maximum(self.length, 1.0)
        bits = 1.0 + np.where(palette, _CLUMP_BITS, _ROOT_BITS * np.sqrt(length)) / length
        return np.asarray(zero - self.share * np.maximum(zero - bits, 0.0))

    def rest(self, share: Float64, exponent: int) -> Float64:
        """Return the part of a run that its divided length lacks, for each weight other than zero, [n, d].

        A `share` [n, 1] of the weights are zeros.
        """
        often = np.minimum(1.0 / np.maximum(self.weights * (1.0 - share), 1e-6), 1.0)
        return np.asarray(self.gap / (1 << exponent) % 1.0 * often)


@dataclass(frozen=True, slots=True)
class Padding:
    """How the zeros that fill up streams come: all of them `at_end`, bool[n, d] or for all, or in `clumps`.

    Those at the end are too late to change a parameter for, those in clumps are worth one of their own. Where
    streams have a `few` values, bool[d], all of them are in their palette: U65 takes more, for a reason that
    is not known.
    """

    at_end: Flags | bool = False
    clumps: Clumps | None = None
    few: Flags | bool = False

    def take(self, rows: NDArray[np.int64], shape: tuple[int, ...]) -> Padding:
        """Return that of some rows of an array of `shape`."""
        at_end = np.broadcast_to(self.at_end, shape)[rows]
        return Padding(at_end, None if self.clumps is None else self.clumps.take(rows), self.few)


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
        + _own_palette(weights, weights / streams, columns, padding)
    )
    each = np.ceil((bits + _HEAD_BITS + np.where(streams > 1.0, 1.0, 2.0) * _CHUNK_BITS) / _STREAM_BITS)
    return np.where(elements > 0, each * streams * _STREAM_BITS / 8.0, 0.0)


def _own_palette(weights: Float64, each: Float64, columns: dict[str, Float64], padding: Padding) -> Float64:
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
    common = _common(weights, each, columns)
    runs = _run_chance(zeros + added, common * weights, weights / np.maximum(each, 1.0))
    runs = np.where(in_runs >= (zeros + added) / 2, runs, 0.0)
    clumped = added / np.maximum(others, 1.0)
    lengths = first = _run_bits(share, clumped, 0)
    for exponent in range(1, _RUN_PARAMETERS):
        bits = _run_bits(share, clumped, exponent)
        if padding.clumps is not None:
            bits = bits - padding.clumps.rest(share, exponent)
        lengths = np.minimum(lengths, bits)
    lengths = np.where(padding.at_end, first, lengths)
    return plain + runs * (others * (8.0 * columns["nonzero"] + lengths) - plain)


def _run_chance(zeros: Float64, common: Float64, streams: Float64) -> Float64:
    """Return which share of so many `streams` has enough zeros for runs, [n, d], for counts in all of them.

    Of several streams some have and some have not where these are just about enough.
    """
    many = streams >= _MANY_STREAMS
    spread = np.sqrt(np.maximum((zeros + RUN_THRESHOLD**2 * common) * streams, 1.0))
    beyond = zeros - RUN_THRESHOLD * common
    return np.where(many, _normal(beyond / spread), beyond > 0)


def _normal(x: Float64) -> Float64:
    """Return about how likely a normally distributed number is below x."""
    x = np.clip(x, -6.0, 6.0)
    return np.asarray(0.5 * (1.0 + np.tanh(0.79788 * x + 0.035677 * x**3)))


def _run_bits(share: Float64, clumped: Float64, exponent: int) -> Float64:
    """Return the bits of a run of independent zeros and, on average, so many `clumped` ones."""
    beyond = share ** (1 << exponent)
    return np.asarray(beyond / (1.0 - beyond) + 1.0 + exponent + clumped / (1 << exponent))


def _common(weights: Float64, each: Float64, columns: dict[str, Float64]) -> Float64:
    """Return the share of the commonest value but zero in `each` stream of so many out of all weights.

    The commonest of a sample is so by chance in part, and more so the smaller it is.
    """
    most = np.clip(weights / SAMPLED_SHARE, SAMPLE_ELEMENTS, MOST_SAMPLE_ELEMENTS)
    of_sample = _CHANCE / np.sqrt(np.clip(weights, 1.0, most))
    root = (np.sqrt(of_sample**2 + 4.0 * columns["common"]) - of_sample) / 2.0
    return np.asarray(root**2 + root * _CHANCE / np.sqrt(np.clip(each, 1.0, SECTION)))
