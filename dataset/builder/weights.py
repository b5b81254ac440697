"""Weights that look like trained ones, cut from a pool that is the same everywhere.

Values are Gaussian (sum of twelve bytes, exact integer arithmetic), each output channel with its own
scale; a share of them can be zero, as after pruning. They matter: an NPU's weight compression, and so its
latency and storage, depend on them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dataset.draws import Draws

POOL = 1 << 21
_SIGMA = 256
"""Standard deviation of the pool's integers: the sum of 12 uniform bytes has 255.998."""


@cache
def _pool() -> NDArray[np.int16]:
    words = np.random.PCG64(20240229).random_raw(POOL * 12 // 8).astype("<u8")
    sums: NDArray[np.int16] = words.view(np.uint8).reshape(POOL, 12).sum(axis=1, dtype=np.int16)
    sums -= np.int16(12 * 255 // 2)
    return sums


@cache
def _int8_pool(sigma: int) -> NDArray[np.int8]:
    scaled = (_pool().astype(np.int32) * sigma + _SIGMA // 2) // _SIGMA
    return np.clip(scaled, -127, 127).astype(np.int8)


@cache
def _byte_pool() -> NDArray[np.uint8]:
    return np.random.PCG64(20240301).random_raw(POOL // 8).astype("<u8").view(np.uint8)


Scalar = TypeVar("Scalar", np.int8, np.int16, np.uint8)


def _cut(pool: NDArray[Scalar], start: int, count: int) -> NDArray[Scalar]:
    if start + count <= POOL:
        return pool[start : start + count]
    return np.take(pool, np.arange(start, start + count), mode="wrap")


def _int8_sigma(fan_in: int) -> int:
    """Per-channel quantization puts a channel's largest of `fan_in` Gaussian values at 127."""
    for limit, sigma in ((16, 64), (64, 50), (256, 42), (1024, 37)):
        if fan_in < limit:
            return sigma
    return 32


class Weights:
    """A source of constant data for one network.

    `sparsity` is the share of weights set to zero. `spread` scales the deviation of int8 weights: below 1
    a few outliers have stretched the scale and most values are small, as in many trained networks.
    """

    def __init__(self, draws: Draws, sparsity: float, spread: float = 1.0) -> None:
        self._draws = draws
        self._int8_spread = spread
        self._zero_below = round(sparsity * 256)

    def int8(self, shape: tuple[int, ...], fan_in: int) -> NDArray[np.int8]:
        """Return values in [-127, 127]."""
        count = math.prod(shape)
        cut = _cut(_int8_pool(self._sigma(fan_in)), self._draws.below(POOL), count)
        return self._prune(cut).reshape(shape)

    def _sigma(self, fan_in: int) -> int:
        return max(1, round(_int8_sigma(fan_in) * self._int8_spread))

    def int8_scales(self, channels: int, fan_in: int) -> NDArray[np.float32]:
        """Return one quantization scale a channel, for weights of He variance 2 / fan_in."""
        deviation = math.sqrt(2 / fan_in) / self._sigma(fan_in)
        return (self._spread(channels) * deviation).astype(np.float32)

    def float32(self, shape: tuple[int, ...], fan_in: int, axis: int) -> NDArray[np.float32]:
        """Return values of He variance 2 / fan_in, with one deviation a channel along `axis`."""
        count = math.prod(shape)
        cut = self._prune(_cut(_pool(), self._draws.below(POOL), count)).reshape(shape)
        deviation = self._spread(shape[axis]) * (math.sqrt(2 / fan_in) / _SIGMA)
        broadcast = [1] * len(shape)
        broadcast[axis] = shape[axis]
        return np.multiply(cut, deviation.astype(np.float32).reshape(broadcast), dtype=np.float32)

    def bias(self, channels: int) -> NDArray[np.float64]:
        """Return small real biases, standard deviation 0.1."""
        cut: NDArray[np.float64] = _cut(_pool(), self._draws.below(POOL), channels) * np.float64(0.1 / _SIGMA)
        return cut

    def _spread(self, channels: int) -> NDArray[np.float64]:
        """Return factors in [0.5, 1.5), one a channel."""
        cut = _cut(_byte_pool(), self._draws.below(POOL), channels)
        return np.add(np.multiply(cut, 1 / 256, dtype=np.float64), 0.5)

    def _prune(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        if not self._zero_below:
            return values
        mask = _cut(_byte_pool(), self._draws.below(POOL), values.size) >= self._zero_below
        return np.where(mask, values, values.dtype.type(0))
