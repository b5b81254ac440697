"""Weights of which two of every four input channels are zeros: U85 skips these in half the time.

Vela 5 looks at all weights (`SparsityTracker`), of which only the share of zeros is known here: they count as
sparse where weights that are zeros independently of each other would more often be so than not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import CONVOLUTION, Float64, Work
from perfsage.features.operands import Operands
from perfsage.features.statistics import WEIGHT_COLUMNS

_TOGETHER = 4.0
_SHARE = WEIGHT_COLUMNS.index("weight_sparsity")
_LEAST_SHARE, _LIKELY = 0.2, 0.5
"""Shares of zeros below which nothing is looked at, and the chance from which on weights count as sparse."""


def skip_zeros(work: Work, operands: Operands, statistics: NDArray[np.float32]) -> Work:
    """Return `work` with what is sparse by its share of zeros; `statistics` float32[n, WEIGHT_COLUMNS]."""
    rows = np.flatnonzero((work.kind == CONVOLUTION) & (statistics[:, _SHARE] > _LEAST_SHARE))
    if not len(rows):
        return work
    sparse = work.sparse.copy()
    each = operands.elements[operands.weight[rows]] / np.maximum(work.in_c[rows], 1.0)
    sparse[rows] |= _chance(1.0 - statistics[rows, _SHARE], work.in_c[rows], each) > _LIKELY
    return replace(work, sparse=sparse)


def _chance(share: Float64, depth: Float64, each: Float64) -> Float64:
    """Return how likely no four channels of `depth`, in each of so many places, have three weights but zeros.

    `share` float64[n] of the weights are other than zero.
    """
    share = share.astype(np.float64)
    four = share**3 * (4.0 - 3.0 * share)
    rest = np.where(depth % _TOGETHER == _TOGETHER - 1, share**3, 0.0)
    return np.asarray(((1.0 - four) ** np.floor(depth / _TOGETHER) * (1.0 - rest)) ** each)
