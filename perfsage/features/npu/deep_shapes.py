"""The shape in which an NPU works on few channels: Vela 5 shares out the prime factors of what there is."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

LEAST_DEPTH = 16
MOST_ELEMENTS = 2.0**31
"""What has as many keeps some shape of 16 channels."""


def deep_shapes(elements: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return height, width and channels that so many elements are worked on in, float64[k, 3]."""
    return np.array([deep_shape(float(count)) for count in elements], dtype=np.float64).reshape(-1, 3)


@lru_cache(maxsize=4096)
def deep_shape(elements: float) -> tuple[float, float, float]:
    """Share the prime factors: the smallest go to channels, the others to height and width in turns."""
    if not 1 <= elements < MOST_ELEMENTS:
        return max(elements / LEAST_DEPTH, 1.0), 1.0, float(LEAST_DEPTH)
    depth, height, width = 1, 1, 1
    for factor in _factors(int(elements)):
        if depth < LEAST_DEPTH:
            depth *= factor
        elif width < height:
            width *= factor
        else:
            height *= factor
    return float(max(height, width)), float(min(height, width)), float(depth)


@cache
def _primes() -> NDArray[np.int64]:
    """Return the primes up to the root of 2^31."""
    sieve = np.ones(int(MOST_ELEMENTS**0.5) + 2, dtype=np.bool_)
    sieve[:2] = False
    for number in range(2, int(len(sieve) ** 0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = False
    return np.flatnonzero(sieve)


def _factors(number: int) -> list[int]:
    """Return the prime factors of a number, ascending."""
    made = []
    for prime in _primes()[number % _primes() == 0].tolist():
        while number % prime == 0:
            made.append(prime)
            number //= prime
    return made + [number] * (number > 1)
