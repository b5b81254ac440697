"""Which of the tensors that compete for SRAM stay there: those that are read and written most (Vela 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import Float64

Int64 = NDArray[np.int64]
MOST_COMPETING = 21
"""So many are tried in all combinations; of more, the first ones are settled before the rest."""
_MOST_CHOICES = 4096
"""So many choices are followed up, those with the most accesses."""


def best_kept(begin: Int64, end: Int64, size: Float64, accesses: Float64, room: Float64) -> NDArray[np.bool_]:
    """Return which of at most MOST_COMPETING to keep, bool[k]: those accessed most of what fits into `room`.

    `begin` int64[k], which do not fall, and `end` int64[k] are the times of each, without the last, and
    `room` float64[times] what is free. Of choices that score alike, Vela takes that which keeps first ones.
    """
    # Between two of these, the same tensors are alive: one time stands for all.
    edges = np.unique(np.concatenate([begin, end]))
    free = np.minimum.reduceat(room[: edges[-1]], edges[:-1])[None]
    spans = np.searchsorted(edges, np.stack([begin, end], axis=1)).tolist()
    score, code = np.zeros(1), np.zeros(1, dtype=np.int64)
    for place, (start, stop) in enumerate(spans):
        code = 2 * code
        fits = np.flatnonzero(free[:, start:stop].min(axis=1) >= size[place])
        kept = free[fits]
        kept[:, start:stop] -= size[place]
        free = np.concatenate([kept, free])
        score = np.concatenate([score[fits] + accesses[place], score])
        code = np.concatenate([code[fits], code + 1])
        if place + 1 < len(spans):
            which = _worth_following(end[: place + 1] > begin[place + 1], score, code)
            free, score, code = free[which], score[which], code[which]
    best = code[np.lexsort([code, -score])[0]]
    return np.asarray((best >> np.arange(len(size))[::-1]) & 1 == 0)


def _worth_following(alive: NDArray[np.bool_], score: Float64, code: Int64) -> Int64:
    """Return one of those choices that leave the same `alive` bool[k] for what comes later: the best of each.

    Bits of `code` int64[choices] say which are out, the first one's the highest.
    """
    bits = np.left_shift(1, np.arange(len(alive))[::-1])
    left = code & bits[alive].sum()
    order = np.lexsort([code, -score, left])
    first = np.append(True, np.diff(left[order]) != 0)
    which = order[first]
    if len(which) > _MOST_CHOICES:
        which = which[np.argsort(-score[which], kind="stable")[:_MOST_CHOICES]]
    return np.asarray(which)
