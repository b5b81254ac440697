"""Costs as a CPU counts them: nanoseconds by what runs an operator, as LiteRT with XNNPACK takes them.

XNNPACK multiplies 8-bit matrices in tiles (`cpu_tiles`) and does what goes element by element in vectors
(`cpu_elements`). What it refuses is left to LiteRT's own kernels. To begin an inference takes time as well,
and so does to fetch what a core's own cache does not keep until the next one. The constants are fitted to
8,011 int8 networks on a core of an AMD EPYC (LiteRT 2.3.0): their plain sum is off by 2.6 % (median 2.1) on
985 others, by which some were chosen. Which types are left to LiteRT is what its profiler shows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfsage.features.cpu_elements import element_costs
from perfsage.features.cpu_heap import heap_bytes
from perfsage.features.cpu_live import heap_live_bytes
from perfsage.features.cpu_tiles import Tiling, tiling
from perfsage.features.npu.work import Float64
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.lifetimes import Lifetimes

CPU_COLUMNS: Final = ("matrix_ns", "window_ns", "element_ns", "begin_ns", "fetch_ns")
"""Multiplied matrices, depthwise windows and everything else; an inference, which the first operator begins;
weights that come from beyond the core's own cache. They add up."""
HEAP_COLUMNS: Final = ("heap_bytes", "heap_live_bytes")
"""What is kept on the heap beside the tensors (`cpu_heap`), and those that are there while an operator runs
(`cpu_live`). A network takes the sum of the former and the largest of the latter."""

_BEGIN_NS: Final = 370.0
_CACHE_BYTES: Final = 5e5
"""Networks whose packed weights take more fetch some of them anew, and all at `_BEYOND` times as many."""
_BEYOND: Final = 2.2
_FETCH_NS: Final = 0.0033


def cpu_costs(
    subgraph: Subgraph, operands: Operands, shapes: Float64, exact: Float64, lives: Lifetimes
) -> Float64:
    """Return CPU_COLUMNS and HEAP_COLUMNS, float64[n, ...], from the first five of PHYSICAL_COLUMNS, `exact`.

    `shapes` float64[n, 11] are those that Operands.shapes returns.
    """
    attribute = subgraph.columns.attribute
    strides = np.maximum(np.stack([attribute("stride_h"), attribute("stride_w")], axis=1), 1)
    tiles = tiling(operands, shapes, strides.astype(np.float64))
    starts = subgraph.operator_starts
    made = np.empty((len(shapes), len(CPU_COLUMNS) + len(HEAP_COLUMNS)))
    made[:, 0], made[:, 1] = tiles.matrix_ns, tiles.window_ns
    made[:, 2] = element_costs(operands, shapes, exact)
    made[:, 3] = 0.0
    made[starts[:-1], 3] = _BEGIN_NS
    made[:, 4] = _FETCH_NS * _fetched(tiles, starts)
    made[:, 5] = heap_bytes(subgraph, operands, shapes, tiles)
    made[:, 6] = heap_live_bytes(subgraph, operands, lives)
    return made


def _fetched(tiles: Tiling, starts: NDArray[np.int64]) -> Float64:
    """Return the bytes of packed weights that the cache has lost since the inference before."""
    total = np.add.reduceat(tiles.packed_bytes, starts[:-1])
    lost = np.clip((total / _CACHE_BYTES - 1.0) / (_BEYOND - 1.0), 0.0, 1.0)
    return np.asarray(tiles.packed_bytes * np.repeat(lost, np.diff(starts)))
