"""What the values of weights say: NPUs compress them, so the values change latency and flash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Subgraph

WEIGHT_COLUMNS = ("weight_known", "weight_sparsity", "weight_entropy", "weight_distinct", "weight_width")
"""Share of zeros, entropy in bytes per element, log2 of the number of distinct values over 8, and the width
of the narrowest integer that holds every value, in bytes."""


def weight_columns(subgraph: Subgraph, weight: NDArray[np.int64], read: bool) -> NDArray[np.float32]:
    """Return float32[n, 5]; rows without constant weights are zero, and so are all of them unless `read`."""
    if not read:
        return np.zeros((len(weight), len(WEIGHT_COLUMNS)), dtype=np.float32)
    found = subgraph.columns.tensor_statistics
    table = np.zeros((len(found.known) + 1, len(WEIGHT_COLUMNS)), dtype=np.float32)
    table[:-1, 0], table[:-1, 1] = found.known, found.sparsity
    table[:-1, 2] = found.entropy_bits / 8
    table[:-1, 3] = np.log2(np.maximum(found.distinct, 1)) / 8
    table[:-1, 4] = found.bit_width / 8
    return table[weight]
