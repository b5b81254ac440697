"""Subgraphs with the shapes that compilers take which believe shape signatures rather than shapes."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from perfsage.graph.flatbuffer import Array
from perfsage.graph.graph import Subgraph
from perfsage.graph.ragged import Ragged
from perfsage.graph.schema import type_bits

MOST_ELEMENTS = float(1 << 56)


def by_signature(subgraph: Subgraph) -> Subgraph:
    """Return `subgraph` with each tensor's signature as its shape; itself where that changes nothing.

    This is what Vela reads: a first size that is left open is 1. Other open sizes stay as the shape states
    them, and so does the shape where its signature has another rank or absurdly many elements.
    """
    columns = subgraph.columns
    signature, shape = columns.tensor_signature, columns.tensor_shape
    rows = np.flatnonzero((signature.lengths > 0) & (signature.lengths == shape.lengths))
    if not len(rows):
        return subgraph
    stated, sizes = signature.take(rows), shape.take(rows)
    found = np.where(stated.values < 0, sizes.values, stated.values)
    first = stated.offsets[:-1]
    found[first[stated.values[first] < 0]] = 1
    differs = np.logical_or.reduceat(found != sizes.values, first)
    absurd = ~(_products(found, first) <= MOST_ELEMENTS)
    changed = rows[differs & ~absurd]
    if not len(changed):
        return subgraph
    taken = np.repeat(differs & ~absurd, stated.lengths)
    values = shape.values.copy()
    values[np.isin(shape.row_indices, changed)] = found[taken]
    elements = columns.tensor_elements.copy()
    elements[changed] = _products(found, first)[differs & ~absurd]
    return _reshaped(subgraph, Ragged(values, shape.offsets), elements)


def _products(values: Array, starts: Array) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.multiply.reduceat(values.astype(np.float64), starts))


def _reshaped(subgraph: Subgraph, shape: Ragged, elements: Array) -> Subgraph:
    """Return a copy of `subgraph` whose tensors have other shapes; all else is shared, statistics too."""
    made, columns = copy(subgraph), copy(subgraph.columns)
    bits = type_bits()[columns.tensor_type]
    sizes = np.where(bits < 0, -1, (elements * bits + 7) >> 3)
    replaced: dict[str, Ragged | Array] = {
        "tensor_shape": shape,
        "tensor_elements": elements,
        "tensor_bytes": sizes,
        # It goes on saying which tensors had another shape.
        "tensor_has_stale_signature": subgraph.columns.tensor_has_stale_signature,
    }
    for name, value in replaced.items():
        object.__setattr__(columns, name, value)
    made.columns = columns
    return made
