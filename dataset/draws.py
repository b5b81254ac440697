"""Random draws that are the same on every machine and with every version of numpy.

Only the raw bits of PCG64 are used: numpy guarantees them for ever, unlike the streams of
`Generator.integers` or `standard_normal` (NEP 19).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BATCH = 256


class Draws:
    """A stream of draws that depends on `label` and nothing else."""

    def __init__(self, label: str) -> None:
        digest = hashlib.sha256(label.encode()).digest()
        self._bits = np.random.PCG64(int.from_bytes(digest, "little"))
        self._pending: list[int] = []

    def raw(self) -> int:
        """Return 64 random bits."""
        if not self._pending:
            self._pending = self._bits.random_raw(_BATCH).tolist()
        return self._pending.pop()

    def below(self, limit: int) -> int:
        """Return an integer in [0, limit); the bias is below limit / 2**64."""
        return self.raw() % limit

    def between(self, low: int, high: int) -> int:
        """Return an integer in [low, high], both included."""
        return low + self.below(high - low + 1)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * ((self.raw() >> 11) / (1 << 53))

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.uniform() < probability

    def choice(self, options: Sequence[T], weights: Sequence[int] | None = None) -> T:
        """Return one option, each with probability proportional to its integer weight."""
        if weights is None:
            return options[self.below(len(options))]
        mark = self.below(sum(weights))
        for option, weight in zip(options, weights, strict=True):
            mark -= weight
            if mark < 0:
                return option
        raise AssertionError("unreachable: the mark is below the sum of the weights")
