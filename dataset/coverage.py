"""How well sampled networks cover real ones: for every operator of a real file, the nearest sampled one.

An operator is described by its type and the logarithms (base 2) of the heights, widths and channels that it
reads and writes, of its kernel, stride, dilation and groups. The distance of two operators of one type is the
largest difference of any of these, so 1 means "within a factor of two in everything".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfsage.graph import Graph, Operator, Subgraph

Rows = dict[str, set[tuple[float, ...]]]
_CHUNK = 16
_WITH_KERNEL = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


@dataclass(frozen=True, slots=True)
class OperatorCoverage:
    """An operator of a real file; `distance` is None where its type was never sampled."""

    subgraph: int
    index: int
    type: str
    distance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeCoverage:
    """One operator type in real and sampled networks; distances are None where one of them has none."""

    type: str
    real: int
    sampled: int
    real_share: float
    sampled_share: float
    median_distance: float | None = None
    p90_distance: float | None = None
    within_factor_two: float | None = None
    """Share of real operators with a sampled one at distance 1 or less."""


class Sampled:
    """The operators of sampled networks: how many of each type, and the different ones."""

    def __init__(self) -> None:
        self.networks = 0
        self.counts: dict[str, int] = {}
        self._rows: Rows = {}

    def add(self, graph: Graph) -> None:
        """Take in the operators of one network."""
        self.networks += 1
        for operator, row in _described(graph):
            self.counts[operator.type] = self.counts.get(operator.type, 0) + 1
            self._rows.setdefault(operator.type, set()).add(row)

    def distances(self, graph: Graph) -> tuple[OperatorCoverage, ...]:
        """Return every operator of a real network, in file order, with the distance of the nearest one."""
        found: list[OperatorCoverage] = []
        places: dict[str, list[int]] = {}
        rows: list[tuple[float, ...]] = []
        for operator, row in _described(graph):
            places.setdefault(operator.type, []).append(len(found))
            found.append(OperatorCoverage(operator.subgraph, operator.index, operator.type, None))
            rows.append(row)
        for kind, here in places.items():
            if kind in self._rows:
                near = nearest(np.array([rows[place] for place in here]), np.array([*self._rows[kind]]))
                for place, distance in zip(here, near.tolist(), strict=True):
                    found[place] = replace(found[place], distance=distance)
        return tuple(found)


def _described(graph: Graph) -> Iterator[tuple[Operator, tuple[float, ...]]]:
    for subgraph in graph.subgraphs:
        for operator in subgraph.operators:
            yield operator, _description(subgraph, operator)


def _description(subgraph: Subgraph, operator: Operator) -> tuple[float, ...]:
    tensors, options = subgraph.tensors, operator.attributes
    # Some operators read constants first: the shape of TRANSPOSE_CONV's output, the axis of SPLIT.
    data = next((i for i in operator.inputs if i >= 0 and not tensors[i].is_constant), -1)
    read = tensors[data].shape if data >= 0 else ()
    written = tensors[operator.outputs[0]].shape if operator.outputs and operator.outputs[0] >= 0 else ()
    weights = _weights(subgraph, operator)
    kernel = weights[1:3] or (options.get("filter_height", 1), options.get("filter_width", 1))
    grouped = operator.type == "CONV_2D" and weights and len(read) == 4
    groups = read[3] // max(1, weights[3]) if grouped else 1
    names = ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor")
    return _log2(*_last3(written), *_last3(read), *kernel, *(options.get(name, 1) for name in names), groups)


def _weights(subgraph: Subgraph, operator: Operator) -> tuple[int, ...]:
    """Return the shape of an operator's kernel, empty where it has none or a damaged one."""
    if operator.type not in _WITH_KERNEL or len(operator.inputs) < 2 or operator.inputs[1] < 0:
        return ()
    shape = subgraph.tensors[operator.inputs[1]].shape
    return shape if len(shape) == 4 else ()


def _last3(shape: tuple[int, ...]) -> tuple[int, ...]:
    return ((1,) * 3 + tuple(shape))[-3:]


def _log2(*values: object) -> tuple[float, ...]:
    return tuple(float(np.log2(max(1, value))) if isinstance(value, int | float) else 0.0 for value in values)


def by_type(
    real: Iterable[tuple[OperatorCoverage, ...]], sampled: Mapping[str, int]
) -> tuple[TypeCoverage, ...]:
    """Return the coverage of each type, the most frequent real one first."""
    found: dict[str, list[float | None]] = {kind: [] for kind in sampled}
    for operators in real:
        for operator in operators:
            found.setdefault(operator.type, []).append(operator.distance)
    totals = (sum(map(len, found.values())) or 1, sum(sampled.values()) or 1)
    kinds = sorted(found, key=lambda kind: (-len(found[kind]), -sampled.get(kind, 0), kind))
    return tuple(_type_coverage(kind, found[kind], sampled.get(kind, 0), totals) for kind in kinds)


def _type_coverage(
    kind: str, distances: list[float | None], sampled: int, totals: tuple[int, int]
) -> TypeCoverage:
    row = TypeCoverage(
        type=kind,
        real=len(distances),
        sampled=sampled,
        real_share=len(distances) / totals[0],
        sampled_share=sampled / totals[1],
    )
    if not (distances and sampled):
        return row
    known = np.array(distances, np.float64)
    return replace(
        row,
        median_distance=float(np.median(known)),
        p90_distance=float(np.quantile(known, 0.9)),
        within_factor_two=float(np.mean(known <= 1.0)),
    )


def nearest(real: NDArray[np.float64], sampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each real row's distance to the nearest sampled one: [n, d], [m, d] -> [n]."""
    parts = [
        np.abs(real[at : at + _CHUNK, None] - sampled[None]).max(axis=2).min(axis=1)
        for at in range(0, len(real), _CHUNK)
    ]
    return np.concatenate(parts)
