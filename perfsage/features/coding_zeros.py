"""Zeros that fill up streams of weights: where they are, and what they take there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Flags = NDArray[np.bool_]

_CLUMP_BITS, _ROOT_BITS = 150.0, 30.0
"""What zeros that come together take beside a bit each: two changes of a parameter, each of which is noticed
after 40 bits and begins a slice. Without a palette it is so much times the root of their number. These are
what normally distributed weights with 32 to 512 zeros in between take."""


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
