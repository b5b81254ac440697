"""Several graphs laid end to end, so that one call serves them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.arrays import GraphFeatures


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """The arrays of g graphs with n operators and e edges in all.

    As in `GraphFeatures`, with `graph` int64[n] naming each operator's graph and `totals` float32[g, ...].
    `offsets` int64[g + 1] delimits the operators of each graph.
    """

    type_index: NDArray[np.int64]
    node: NDArray[np.float32]
    physical: NDArray[np.float32]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    graph: NDArray[np.int64]
    totals: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def graphs(self) -> int:
        """The number of graphs."""
        return len(self.totals)


def batch_features(items: Sequence[GraphFeatures]) -> FeatureBatch:
    """Join graphs; edges keep pointing into their own graph."""
    sizes = np.array([item.operators for item in items], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    starts = offsets[:-1]
    return FeatureBatch(
        type_index=np.concatenate([item.type_index for item in items]),
        node=np.concatenate([item.node for item in items]),
        physical=np.concatenate([item.physical for item in items]).astype(np.float32),
        source=np.concatenate([item.source + start for item, start in zip(items, starts, strict=True)]),
        target=np.concatenate([item.target + start for item, start in zip(items, starts, strict=True)]),
        graph=np.repeat(np.arange(len(items), dtype=np.int64), sizes),
        totals=np.stack([item.totals for item in items]).astype(np.float32),
        offsets=offsets,
    )
