"""How well sampled networks cover real ones: for every operator of a real file, the nearest sampled one.

An operator is described by its type and the logarithms (base 2) of its output height, width and channels,
input channels, kernel, stride and dilation. The distance of two operators of one type is the largest
difference of any of these, so 1 means "within a factor of two in everything".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Graph, Operator, Subgraph

Rows = dict[str, list[tuple[float, ...]]]
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class TypeCoverage:
    """Coverage of one operator type; distances are None where the type was never sampled."""

    type: str
    real: int
    sampled: int
    real_share: float
    sampled_share: float
    median_distance: float | None
    p90_distance: float | None
    within_factor_two: float | None
    """Share of real operators with a sampled one at distance 1 or less."""


def operator_rows(graphs: Iterable[Graph]) -> Rows:
    """Return the descriptions of all operators, by type."""
    rows: Rows = {}
    for graph in graphs:
        for subgraph in graph.subgraphs:
            for operator, row in _describe(subgraph):
                rows.setdefault(operator.type, []).append(row)
    return rows


def _describe(subgraph: Subgraph) -> Iterator[tuple[Operator, tuple[float, ...]]]:
    tensors = subgraph.tensors
    for operator in subgraph.operators:
        shape = tensors[operator.outputs[0]].shape if operator.outputs else ()
        first = tensors[operator.inputs[0]].shape if operator.inputs and operator.inputs[0] >= 0 else ()
        kernel = tensors[operator.inputs[1]].shape[1:3] if operator.type in _WITH_KERNEL else ()
        options = operator.attributes
        yield (
            operator,
            _log2(
                *_last(shape, 3),
                *_last(first, 1),
                *(kernel or (options.get("filter_height", 1), options.get("filter_width", 1))),
                options.get("stride_h", 1),
                options.get("stride_w", 1),
                options.get("dilation_h_factor", 1),
            ),
        )


_WITH_KERNEL = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


def _last(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    return ((1,) * count + shape)[-count:]


def _log2(*values: object) -> tuple[float, ...]:
    return tuple(float(np.log2(max(1, value))) if isinstance(value, int | float) else 0.0 for value in values)


def coverage(real: Rows, sampled: Rows) -> list[TypeCoverage]:
    """Return the coverage of each type, the most frequent real one first."""
    all_real = sum(map(len, real.values())) or 1
    all_sampled = sum(map(len, sampled.values())) or 1
    result = []
    for kind in sorted(real.keys() | sampled.keys(), key=lambda kind: -len(real.get(kind, ()))):
        here, there = real.get(kind, []), sampled.get(kind, [])
        distances = nearest(np.array(here), np.array(there)) if here and there else None
        result.append(
            TypeCoverage(
                type=kind,
                real=len(here),
                sampled=len(there),
                real_share=len(here) / all_real,
                sampled_share=len(there) / all_sampled,
                median_distance=None if distances is None else float(np.median(distances)),
                p90_distance=None if distances is None else float(np.quantile(distances, 0.9)),
                within_factor_two=None if distances is None else float(np.mean(distances <= 1.0)),
            )
        )
    return result


def nearest(real: NDArray[np.float64], sampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each real row's distance to the nearest sampled one: [n, d], [m, d] -> [n]."""
    sampled = np.unique(sampled, axis=0)
    parts = [
        np.abs(real[at : at + _CHUNK, None] - sampled[None]).max(axis=2).min(axis=1)
        for at in range(0, len(real), _CHUNK)
    ]
    return np.concatenate(parts)
