"""Over which axes a reduction goes, from the shapes of what it reads and makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.operands import Flags, Operands
from perfsage.graph.columns import Columns

AXES = ((1, 2), (2,), (1,), (3,), (2, 3), (1, 2, 3), (1, 3))
"""Sets of axes of n, h, w, c: the first that fits is taken, but an index is of the last axis if it can be."""


def reduced_axes(columns: Columns, operands: Operands, rows: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Return the axes, ascending, of each operator in `rows`; those of an image where no set fits."""
    data, result = operands.dimensions[operands.data[rows]], operands.dimensions[operands.result[rows]]
    keep = columns.attribute("keep_dims")[rows].astype(bool)
    place = operands.is_type("ARG_MAX")[rows]
    made: list[tuple[int, ...]] = [(3,) if last else (1, 2) for last in place.tolist()]
    open_ = np.ones(len(rows), dtype=np.bool_)
    for attempt, axes in enumerate(((3,), *AXES)):
        fits = open_ & _fits(data, result, keep, axes) & (place if attempt == 0 else True)
        for row in np.flatnonzero(fits).tolist():
            made[row] = tuple(a for a in axes if data[row, a] > 1) or axes
        open_ &= ~fits
    return made


def _fits(
    data: NDArray[np.float64], result: NDArray[np.float64], keep: Flags, axes: tuple[int, ...]
) -> Flags:
    """Return whether a result has the shape of data without these axes, bool[k]."""
    rest = [axis for axis in range(4) if axis not in axes]
    removed = np.ones(data.shape)
    removed[:, len(axes) :] = data[:, rest]
    kept = data.copy()
    kept[:, list(axes)] = 1.0
    same = np.where(keep[:, None], kept, removed) == result
    return np.asarray(same.all(axis=1), dtype=np.bool_)


def mean_over_channels(columns: Columns, operands: Operands) -> Flags:
    """Return which operators are means over channels alone, bool[n]."""
    return _means(columns, operands, alone=True)


def unable_means(columns: Columns, operands: Operands) -> Flags:
    """Return which means over channels are of whole images, bool[n]: Vela leaves these to the CPU."""
    image = (operands.dimensions[operands.data, 1:] > 1).all(axis=1)
    return image & _means(columns, operands, alone=False)


def _means(columns: Columns, operands: Operands, *, alone: bool) -> Flags:
    """Return which operators are means over channels, and over nothing else if `alone`, bool[n]."""
    depth = operands.dimensions[:, 3]
    # Where these are as many, the image's last axis is as long, and it comes first.
    made: Flags = operands.is_type("MEAN") & (depth[operands.data] != depth[operands.result])
    rows = np.flatnonzero(made)
    if len(rows):
        found = reduced_axes(columns, operands, rows)
        made[rows] = [axes == (3,) if alone else 3 in axes for axes in found]
    return made
