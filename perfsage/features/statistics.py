"""What the values of weights say: NPUs compress them, so the values change latency and flash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Subgraph
from perfsage.graph.statistics import statistics_at

WEIGHT_COLUMNS = (
    *("weight_known", "weight_sparsity", "weight_entropy", "weight_distinct", "weight_width"),
    *("weight_plain", "weight_zero", "weight_nonzero", "weight_common", "weight_palette"),
)
"""Share of zeros, entropy in bytes per element, log2 of the number of distinct values over 8, the width of
the narrowest integer that holds every value, in bytes; then what an NPU's code makes of them: bytes per
element, per zero and per other value, share of the commonest other value, and bytes of a palette over 32."""
UNKNOWN_SHARE = 0.9
"""Bytes per element that weights are taken to need where their values are not known."""


def weight_columns(subgraph: Subgraph, weight: NDArray[np.int64], read: bool) -> NDArray[np.float32]:
    """Return float32[n, 10]; rows without constant weights are zero, and so are all of them unless `read`."""
    if not read:
        return np.zeros((len(weight), len(WEIGHT_COLUMNS)), dtype=np.float32)
    found = statistics_at(subgraph.columns.pieces, weight)
    columns = [
        found.known,
        found.sparsity,
        found.entropy_bits / 8,
        np.log2(np.maximum(found.distinct, 1)) / 8,
        found.bit_width / 8,
        found.plain_bits / 8,
        found.zero_bits / 8,
        found.nonzero_bits / 8,
        found.common_share,
        found.palette_bits / 256,
    ]
    return np.stack(columns, axis=1, dtype=np.float32, casting="unsafe")
