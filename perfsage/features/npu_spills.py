"""Which tensors do not fit into an NPU's SRAM while they are alive, by the limits of the larger U85."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu_work import SPILL_BYTES, Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.lifetimes import NEVER, lifetimes


def spilled(subgraph: Subgraph, operands: Operands, live: Float64) -> NDArray[np.int64]:
    """Return how many of SPILL_BYTES are exceeded while each tensor is alive, int64[tensors + 1].

    `live` float64[n] are the bytes alive at each operator, of this tensor and all others.
    """
    made = np.zeros(operands.absent + 1, dtype=np.int64)
    if not len(live) or live.max() <= SPILL_BYTES[0]:
        return made
    lives = lifetimes(subgraph)
    alive = np.flatnonzero((lives.first > NEVER) & (lives.last >= 0))
    first = np.maximum(lives.first[alive], 0)
    bounds = np.stack([first, np.maximum(lives.last[alive], first) + 1], axis=1).ravel()
    peaks = np.maximum.reduceat(np.append(live, 0.0), bounds)[::2]
    made[alive] = (peaks[:, None] > SPILL_BYTES).sum(axis=1)
    return made
