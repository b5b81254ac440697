"""What a graph stores once, however many of its operators need it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import Flags, Float64
from perfsage.graph import Subgraph


def first_of_graph(subgraph: Subgraph, rows: NDArray[np.int64], keys: Float64 | None = None) -> Flags:
    """Return which of `rows` int64[k] are the first of their graph with such `keys` [k, columns], bool[k]."""
    if len(rows) == 1:
        return np.ones(1, dtype=np.bool_)
    graph = subgraph.begins(rows)[:, None]
    seen = graph if keys is None else np.concatenate([graph, keys], axis=1)
    first = np.zeros(len(rows), dtype=np.bool_)
    first[np.unique(seen, axis=0, return_index=True)[1]] = True
    return first
