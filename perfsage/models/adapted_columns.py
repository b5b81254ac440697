"""What a handful of measurements is explained with: sums of operators' costs, by kind of operator.

All columns of a network are sums over operators or totals of the graph, so that a fit with positive rates
says what each operator costs, and extrapolates as costs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features import NODE_COLUMNS, GraphFeatures
from perfsage.models.physics import COMMON_TERMS, common_term_columns

Array = NDArray[np.float64]

GROUP_TERMS = ("operators", "macs", "activation_bytes")
"""The costs that each kind of operator has rates of its own for."""
TOTALS = ("plan_peak_bytes", "arena_bytes", "weight_bytes", "file_bytes")
SHAPE_EXTRAS = 4
_GROUP_TERM_PLACES = [COMMON_TERMS.index(name) for name in GROUP_TERMS]
_KERNEL = [NODE_COLUMNS.index(name) for name in ("kernel_h", "kernel_w")]
_FLOAT = NODE_COLUMNS.index("data_float")


@dataclass(frozen=True, slots=True)
class OperatorColumns:
    """The operators of one graph: `kinds` unicode[n], `terms` float64[n, len(COMMON_TERMS)]."""

    kinds: NDArray[np.str_]
    terms: Array

    def sum_terms(self, chosen: NDArray[np.bool_] | None = None) -> Array:
        """Return the sums of the terms over all operators, or over those chosen."""
        return np.asarray((self.terms if chosen is None else self.terms[chosen]).sum(axis=0))

    def sum_kinds(self, names: Sequence[str]) -> Array:
        """Return float64[len(names), len(GROUP_TERMS)]: the sums over the operators of each kind."""
        rows, found = self.places(names)
        sums = np.zeros((len(names), len(GROUP_TERMS)))
        np.add.at(sums, rows[found], self.terms[found][:, _GROUP_TERM_PLACES])
        return sums

    def operator_kind_terms(self) -> Array:
        """Return float64[n, len(GROUP_TERMS)]."""
        return self.terms[:, _GROUP_TERM_PLACES]

    def places(self, names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return each operator's position in `names` (0 where it is not in it), and whether it is in it."""
        known = {name: place for place, name in enumerate(names)}
        rows = np.array([known.get(kind, -1) for kind in self.kinds.tolist()], dtype=np.int64)
        return np.maximum(rows, 0), rows >= 0


def operator_columns(features: GraphFeatures) -> OperatorColumns:
    """Return the kind and the costs of every operator.

    A kind is the operator's type, its kernel where that is not 1x1, and whether it computes in float.
    """
    kernels = np.rint(np.expm1(features.node[:, _KERNEL])).astype(np.int64).tolist()
    floats = (features.node[:, _FLOAT] > 0).tolist()
    kinds = [
        _kind(name, height, width, is_float)
        for name, (height, width), is_float in zip(features.type_names.tolist(), kernels, floats, strict=True)
    ]
    return OperatorColumns(np.array(kinds), common_term_columns(features.physical))


def _kind(name: str, height: int, width: int, is_float: bool) -> str:
    convolves = "CONV" in name and height * width > 1
    return name + (f" {height}x{width}" if convolves else "") + (" float" if is_float else "")


def graph_totals(features: GraphFeatures) -> Array:
    """Return float64[len(TOTALS)]."""
    return np.array([features.total(name) for name in TOTALS])


def shape_columns(features: GraphFeatures, columns: OperatorColumns, kinds: Sequence[str]) -> Array:
    """Return what says how a network is built, float64[len(kinds) + SHAPE_EXTRAS].

    Logarithms of the number of operators of each kind, of the longest chain, of the tensors that several
    operators read, of the planned peak and of the mean live bytes.
    """
    counts = columns.sum_kinds(kinds)[:, 0]
    readers = np.bincount(features.source, minlength=features.operators)
    shape = [
        _longest_chain(features),
        float((readers > 1).sum()),
        features.total("plan_peak_bytes"),
        float(features.cost("live_bytes").mean()),
    ]
    return np.asarray(np.log1p(np.concatenate([counts, np.array(shape)])))


def _longest_chain(features: GraphFeatures) -> float:
    """Return the number of edges on the longest path; operators run in file order, so edges point onwards."""
    depth = [0] * features.operators
    order = np.argsort(features.target, kind="stable")
    for source, target in zip(features.source[order].tolist(), features.target[order].tolist(), strict=True):
        depth[target] = max(depth[target], depth[source] + 1)
    return float(max(depth, default=0))
