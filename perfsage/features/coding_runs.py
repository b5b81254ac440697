"""Zeros that are coded as runs: whether streams have any, and how many bits these take."""

from __future__ import annotations

import numpy as np

from perfsage.features.coding_zeros import Float64
from perfsage.graph.statistics import MOST_SAMPLE_ELEMENTS, SAMPLE_ELEMENTS, SAMPLED_SHARE

RUN_THRESHOLD = 5.0
"""Zeros are coded as runs where they occur more than so many times as often as any other value."""
_MANY_STREAMS = 4.0
"""So many streams rarely all agree on runs where these are worth about as much as none."""
SECTION = float(1 << 17)
"""Weights that are looked at together."""
_CHANCE = 2.0
"""How many standard deviations the commonest of many values is above what is to be expected."""


def run_chance(zeros: Float64, common: Float64, streams: Float64) -> Float64:
    """Return which share of so many `streams` has enough zeros for runs, [n, d], for counts in all of them.

    Of several streams some have and some have not where these are just about enough.
    """
    beyond = zeros - RUN_THRESHOLD * common
    chance = (beyond > 0).astype(np.float64)
    many = np.nonzero(np.broadcast_to(streams >= _MANY_STREAMS, chance.shape))
    if len(many[0]):
        counted = zeros[many] + RUN_THRESHOLD**2 * np.broadcast_to(common, chance.shape)[many]
        spread = np.sqrt(np.maximum(counted * np.broadcast_to(streams, chance.shape)[many], 1.0))
        chance[many] = _normal(beyond[many] / spread)
    return chance


def _normal(x: Float64) -> Float64:
    """Return about how likely a normally distributed number is below x."""
    x = np.clip(x, -6.0, 6.0)
    return np.asarray(0.5 * (1.0 + np.tanh(0.79788 * x + 0.035677 * x**3)))


def run_bits(share: Float64, clumped: Float64, exponent: int) -> Float64:
    """Return the bits of a run of independent zeros and, on average, so many `clumped` ones."""
    beyond = share ** (1 << exponent)
    return np.asarray(beyond / (1.0 - beyond) + 1.0 + exponent + clumped / (1 << exponent))


def common_share(weights: Float64, each: Float64, columns: dict[str, Float64]) -> Float64:
    """Return the share of the commonest value but zero in `each` stream of so many out of all weights.

    The commonest of a sample is so by chance in part, and more so the smaller it is.
    """
    most = np.clip(weights / SAMPLED_SHARE, SAMPLE_ELEMENTS, MOST_SAMPLE_ELEMENTS)
    of_sample = _CHANCE / np.sqrt(np.clip(weights, 1.0, most))
    root = (np.sqrt(of_sample**2 + 4.0 * columns["common"]) - of_sample) / 2.0
    return np.asarray(root**2 + root * _CHANCE / np.sqrt(np.clip(each, 1.0, SECTION)))
