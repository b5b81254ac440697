"""Graph -> GraphFeatures: every subgraph flattened into one set of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidInputError
from perfsage.features.arrays import PHYSICAL_COLUMNS, GraphFeatures
from perfsage.features.operators import NODE_COLUMNS, SubgraphRows, subgraph_rows
from perfsage.graph import Graph
from perfsage.graph.memory_arena import estimate_arena

_LIVE, _BLOCK_LIVE = PHYSICAL_COLUMNS.index("live_bytes"), PHYSICAL_COLUMNS.index("block_live_bytes")
_WEIGHTS = PHYSICAL_COLUMNS.index("weight_bytes")
_OF_PEAK = NODE_COLUMNS.index("live_of_peak")


def extract_features(graph: Graph, *, weights: bool = True, arena: bool = True) -> GraphFeatures:
    """Return the arrays that predictors read.

    With `weights` the values of constant tensors are looked at (sparsity, entropy), which costs about a
    millisecond a megabyte; without, these columns say "unknown". With `arena` the memory planner runs, which
    costs about as much as everything else; without, its two totals are 0. InvalidInputError for a graph
    without operators.
    """
    parts = [
        subgraph_rows(subgraph, weights=weights) for subgraph in graph.subgraphs if len(subgraph.operators)
    ]
    if not parts:
        raise InvalidInputError("the model has no operators", hint="There is nothing to predict.")
    sizes = [len(part.type_index) for part in parts]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    node, physical = _join(parts, "node"), _join(parts, "physical")
    _relate(node, physical)
    return GraphFeatures(
        graph_id=graph.graph_id,
        type_index=_join(parts, "type_index"),
        type_names=_join(parts, "type_names"),
        node=node,
        physical=physical,
        source=np.concatenate([part.source + start for part, start in zip(parts, starts, strict=True)]),
        target=np.concatenate([part.target + start for part, start in zip(parts, starts, strict=True)]),
        location=_join(parts, "location"),
        totals=_totals(graph, parts, physical, _planned(graph) if arena else (0.0, 0.0)),
    )


def _join(parts: list[SubgraphRows], name: str) -> NDArray[Any]:
    arrays = [getattr(part, name) for part in parts]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _relate(node: NDArray[np.float32], physical: NDArray[np.float64]) -> None:
    """Fill in the columns that compare an operator's memory to the whole graph's."""
    live = np.log(physical[:, [_LIVE, _BLOCK_LIVE]] + 1.0)
    peak = live.max(axis=0)
    node[:, _OF_PEAK : _OF_PEAK + 2] = live - peak
    node[:, _OF_PEAK + 2] = peak[1]


def _planned(graph: Graph) -> tuple[float, float]:
    """Return the planner's peak and the arena; 0 where sizes are not known."""
    try:
        estimate = estimate_arena(graph)
    except InvalidInputError:
        return 0.0, 0.0
    return float(estimate.head_bytes or 0), float(estimate.total_bytes or 0)


def _totals(
    graph: Graph, parts: list[SubgraphRows], physical: NDArray[np.float64], planned: tuple[float, float]
) -> NDArray[np.float64]:
    operators = len(physical)
    return np.array(
        [
            *planned,
            physical[:, _LIVE].max(),
            physical[:, _BLOCK_LIVE].max(),
            physical[:, _WEIGHTS].sum(),
            graph.file_bytes,
            operators,
            sum(part.float_operators for part in parts) / max(sum(part.computing for part in parts), 1),
            sum(part.unknown for part in parts) / operators,
        ],
        dtype=np.float64,
    )
