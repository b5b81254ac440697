"""Graph -> GraphFeatures: every subgraph flattened into one set of rows, of many graphs at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidInputError, PerfsageError
from perfsage.features.arrays import GRAPH_COLUMNS, PHYSICAL_COLUMNS, GraphFeatures
from perfsage.features.npu.asked import estimating
from perfsage.features.npu.geometry import GEOMETRY_NAMES
from perfsage.features.operators import NODE_COLUMNS, SubgraphRows, subgraph_rows
from perfsage.graph import Graph, Subgraph
from perfsage.graph.joining import join
from perfsage.graph.memory_arena import ArenaEstimate, estimate_arenas

_LIVE, _BLOCK_LIVE = PHYSICAL_COLUMNS.index("live_bytes"), PHYSICAL_COLUMNS.index("block_live_bytes")
_WEIGHTS = PHYSICAL_COLUMNS.index("weight_bytes")
_OF_PEAK = NODE_COLUMNS.index("live_of_peak")
_LARGEST_PIECE = (32 << 20) - (64 << 10)


def extract_features(
    graph: Graph, *, weights: bool = True, arena: bool = True, accelerators: Collection[str] = GEOMETRY_NAMES
) -> GraphFeatures:
    """Return the arrays that predictors read.

    With `weights` the values of constant tensors are looked at (sparsity, entropy), which costs about a
    millisecond a megabyte; without, these columns say "unknown". With `arena` the memory planner runs, which
    costs about as much as everything else; without, its two totals are 0. NPUs are estimated that are among
    `accelerators`, names such as u55_128: the physical columns of others are NaN, which saves up to half of
    the time. InvalidInputError for a graph without operators. Of many graphs, `extract_many` takes a fraction
    of the time for each.
    """
    with estimating(accelerators):
        return _extract([graph], weights, arena)[0]


def extract_many(
    graphs: Sequence[Graph],
    *,
    weights: bool = True,
    arena: bool = True,
    accelerators: Collection[str] = GEOMETRY_NAMES,
) -> list[GraphFeatures | PerfsageError]:
    """Return the features of each graph, or why it has none; the same, bit for bit, as of each alone.

    The arguments are those of `extract_features`; InvalidInputError for an accelerator that there is not.
    All of it is in memory at once: callers hand over some thousands of operators at a time.
    """
    if not graphs:
        return []
    with estimating(accelerators):
        return _extract_or_fail(graphs, weights, arena)


def _extract_or_fail(
    graphs: Sequence[Graph], weights: bool, arena: bool
) -> list[GraphFeatures | PerfsageError]:
    try:
        return list(_extract(graphs, weights, arena))
    except PerfsageError as error:
        if len(graphs) == 1:
            return [error]
    # One of them is at fault: the others have features all the same.
    return [found for graph in graphs for found in _extract_or_fail([graph], weights, arena)]


def _extract(graphs: Sequence[Graph], weights: bool, arena: bool) -> list[GraphFeatures]:
    _keep_freed_memory()
    parts = [_with_operators(graph) for graph in graphs]
    joined = join([subgraph for part in parts for subgraph in part])
    rows = subgraph_rows(joined, weights=weights)
    sizes = [[len(subgraph.operators) for subgraph in part] for part in parts]
    starts = np.cumsum([0, *map(sum, sizes)])
    _relate(rows.node, rows.physical, starts)
    totals = _totals(graphs, rows, starts, estimate_arenas(graphs, joined) if arena else ())
    edges = np.searchsorted(rows.target, starts)
    return [
        GraphFeatures(
            graph_id=graph.graph_id,
            type_index=rows.type_index[begin:end],
            type_names=rows.type_names[begin:end],
            node=rows.node[begin:end],
            physical=rows.physical[begin:end],
            source=rows.source[edges[place] : edges[place + 1]] - begin,
            target=rows.target[edges[place] : edges[place + 1]] - begin,
            location=_location(parts[place], sizes[place]),
            totals=totals[place],
        )
        for place, (graph, begin, end) in enumerate(zip(graphs, starts[:-1], starts[1:], strict=True))
    ]


@cache
def _keep_freed_memory() -> None:
    """Have the C library keep what one call frees for the next, where it is glibc.

    It gives memory back once more is free than twice the largest piece that ever was, and takes each page
    anew then, a hundred for a network of 100 operators. A piece of nearly 32 MB, the largest that counts,
    makes that 64 MB; none of it is written to, so that it takes no memory itself.
    """
    np.empty(_LARGEST_PIECE, dtype=np.uint8)


def _with_operators(graph: Graph) -> list[Subgraph]:
    parts = [subgraph for subgraph in graph.subgraphs if len(subgraph.operators)]
    if not parts:
        raise InvalidInputError("the model has no operators", hint="There is nothing to predict.")
    return parts


def _location(subgraphs: Sequence[Subgraph], sizes: Sequence[int]) -> NDArray[np.int64]:
    made = [
        np.stack([np.full(size, subgraph.index), np.arange(size)], axis=1)
        for subgraph, size in zip(subgraphs, sizes, strict=True)
    ]
    return np.concatenate(made).astype(np.int64)


def _relate(node: NDArray[np.float32], physical: NDArray[np.float64], starts: NDArray[np.integer]) -> None:
    """Fill in the columns that compare an operator's memory to its whole graph's."""
    live = np.log(physical[:, [_LIVE, _BLOCK_LIVE]] + 1.0)
    peak = np.repeat(np.maximum.reduceat(live, starts[:-1]), np.diff(starts), axis=0)
    node[:, _OF_PEAK : _OF_PEAK + 2] = live - peak
    node[:, _OF_PEAK + 2] = peak[:, 1]


def _planned(estimates: Sequence[ArenaEstimate | PerfsageError], graphs: int) -> NDArray[np.float64]:
    """Return the planner's peak and the arena of each graph, float64[graphs, 2]; 0 where not known."""
    made = np.zeros((graphs, 2))
    for row, estimate in enumerate(estimates):
        if isinstance(estimate, ArenaEstimate):
            made[row] = estimate.head_bytes or 0, estimate.total_bytes or 0
    return made


def _totals(
    graphs: Sequence[Graph],
    rows: SubgraphRows,
    starts: NDArray[np.integer],
    estimates: Sequence[ArenaEstimate | PerfsageError],
) -> NDArray[np.float64]:
    """Return float64[graphs, len(GRAPH_COLUMNS)]."""
    first, operators = starts[:-1], np.diff(starts)
    planned = _planned(estimates, len(graphs))
    peaks = np.maximum.reduceat(rows.physical[:, [_LIVE, _BLOCK_LIVE]], first)
    flags = np.stack([rows.float_operators, rows.computing, rows.unknown], axis=1)
    floats, computing, unknown = np.add.reduceat(flags, first, dtype=np.int64).T
    columns = {
        "plan_peak_bytes": planned[:, 0],
        "arena_bytes": planned[:, 1],
        "live_peak_bytes": peaks[:, 0],
        "block_live_peak_bytes": peaks[:, 1],
        "weight_bytes": np.add.reduceat(rows.physical[:, _WEIGHTS], first),
        "file_bytes": [graph.file_bytes for graph in graphs],
        "operators": operators,
        "float_share": floats / np.maximum(computing, 1),
        "unknown_cost_share": unknown / operators,
    }
    return np.stack([columns[name] for name in GRAPH_COLUMNS], axis=1).astype(np.float64)
