"""The arrays that stand for one graph, and their form on disk (npz, never a pickle)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidInputError
from perfsage.features.cpu import CPU_COLUMNS, HEAP_COLUMNS
from perfsage.features.npu.fetch import FETCHED
from perfsage.features.npu.geometry import GEOMETRY_NAMES
from perfsage.features.npu.memory import LIVE_NAMES
from perfsage.features.npz import read_npz, write_npz

FEATURE_SCHEMA = "14"
"""Changes whenever a column is added, removed or computed differently."""

_KINDS = [tuple(f"{kind}_{name}" for name in GEOMETRY_NAMES) for kind in ("cycles", *FETCHED)]
CYCLE_COLUMNS, NEAR_COLUMNS, FAR_COLUMNS, AWAITED_COLUMNS, CODED_COLUMNS, AHEAD_COLUMNS, SRAM_COLUMNS = _KINDS
ACCELERATOR_COLUMNS = tuple(name for kind in _KINDS for name in kind)
MAC_COLUMNS = ("spanned_macs_u55", "spanned_macs_u85")
PHYSICAL_COLUMNS = (
    "macs",
    "elementwise_ops",
    "read_bytes",
    "written_bytes",
    "weight_bytes",
    "live_bytes",
    "block_macs",
    "block_outputs",
    "coded_bytes",
    "channels",
    *CPU_COLUMNS,
    *HEAP_COLUMNS,
    *MAC_COLUMNS,
    *LIVE_NAMES,
    *ACCELERATOR_COLUMNS,
)
"""Additive costs of each operator, unscaled; the first five are exact.

`live_bytes` is what is alive while it runs. The others are what NPUs make of these: `block_macs` and
`block_outputs` count whole blocks of channels and kernel elements, `coded_bytes` are the weights as a
compressing NPU codes them, `channels` those that need a scale and a bias, and `block_live_bytes` and those
after it what NPUs keep in SRAM (`memory`). `spanned_macs_*` count zeros that fill kernels or inputs up as
well, on U55 and U65 and on U85, without what these leave to the CPU. `cycles_*` are what Arm's estimate gives
for each Ethos-U accelerator before memory (`npu_costs`), `near_*`, `far_*`, `awaited_*` and `sram_*` the
bytes that it moves and waits for (`fetch`) and `coded_*` those that it stores, all 0 for what it leaves to
the CPU, and `ahead_*` those of weights that are in SRAM beside activations (`prefetch`), and what others have
in it beside those of the last of REFERENCES. All of these are NaN for accelerators that nobody asked for.
`CPU_COLUMNS` are what CPUs make of them (`cpu`), `HEAP_COLUMNS` what these keep on the heap.
"""

GRAPH_COLUMNS = (
    "plan_peak_bytes",
    "arena_bytes",
    "live_peak_bytes",
    "block_live_peak_bytes",
    "weight_bytes",
    "file_bytes",
    "operators",
    "float_share",
    "unknown_cost_share",
)
"""Totals of the graph; `plan_peak_bytes` is the exact peak of the greedy memory planner, and
`arena_bytes` TFLM's whole arena on a 64-bit host, 0 where that is not known or was not asked for."""


@dataclass(frozen=True, slots=True)
class GraphFeatures:
    """One graph as arrays, for n operators (of every subgraph) and e edges.

    `type_index` int64[n] and `type_names` unicode[n]; `node` float32[n, len(NODE_COLUMNS)]; `physical`
    float64[n, len(PHYSICAL_COLUMNS)]; `source` and `target` int64[e] are operator rows, from producer to
    consumer of a tensor; `location` int64[n, 2] is (subgraph, index); `totals` float64[len(GRAPH_COLUMNS)].
    """

    graph_id: str
    type_index: NDArray[np.int64]
    type_names: NDArray[np.str_]
    node: NDArray[np.float32]
    physical: NDArray[np.float64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    location: NDArray[np.int64]
    totals: NDArray[np.float64]

    @property
    def operators(self) -> int:
        """The number of operators over all subgraphs."""
        return len(self.type_index)

    @property
    def idle_accelerators(self) -> NDArray[np.bool_]:
        """Which of GEOMETRIES have nothing to do, since all operators are left to the CPU."""
        begin = PHYSICAL_COLUMNS.index(CYCLE_COLUMNS[0])
        busy = self.physical[:, begin : begin + len(CYCLE_COLUMNS)].any(axis=0)
        return np.asarray(~busy)

    def total(self, column: str) -> float:
        """Return one of GRAPH_COLUMNS."""
        return float(self.totals[GRAPH_COLUMNS.index(column)])

    def cost(self, column: str) -> NDArray[np.float64]:
        """Return one of PHYSICAL_COLUMNS, float64[n]."""
        return self.physical[:, PHYSICAL_COLUMNS.index(column)]


def save_features(features: GraphFeatures, path: Path) -> None:
    """Write `features` to an .npz file."""
    arrays = {field.name: np.asarray(getattr(features, field.name)) for field in fields(features)}
    write_npz(path, {"schema": np.asarray(FEATURE_SCHEMA), **arrays})


def load_features(path: Path) -> GraphFeatures:
    """Read what `save_features` wrote; InvalidInputError where it is damaged or of another schema."""
    try:
        stored = read_npz(path)
        schema = str(stored["schema"])
        arrays: dict[str, Any] = {field.name: stored[field.name] for field in fields(GraphFeatures)}
    except (ValueError, KeyError) as error:
        raise InvalidInputError(
            f"the feature file cannot be read: {error}", where=str(path), hint="Extract the features again."
        ) from error
    if schema != FEATURE_SCHEMA:
        raise InvalidInputError(
            f"the features have schema {schema}, and this version reads {FEATURE_SCHEMA}",
            where=str(path),
            hint="Extract the features again.",
        )
    return GraphFeatures(**{**arrays, "graph_id": str(arrays["graph_id"])})
