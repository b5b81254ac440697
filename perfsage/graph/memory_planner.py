"""Greedy placement of buffers in one arena, as TFLM's default memory planner does it.

Larger buffers first (of equal ones the later), each at the lowest offset where it fits among the buffers
already placed that are alive at the same time. Behaviour as published in tflite-micro's
`memory_planner/greedy_memory_planner.cc` and `docs/memory_management.md`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from perfsage.errors import InvalidInputError

Int64 = npt.NDArray[np.int64]

MAX_OVERLAPS: Final = 8_000_000
"""Pairs of buffers alive together that a plan may look at: seconds of work."""

_CHUNK_CELLS: Final = 1 << 20


def place(size: Int64, first: Int64, last: Int64, fixed: Int64 | None = None) -> Int64:
    """Return the offset of each buffer of `size` bytes that is alive from step `first` to step `last`.

    `fixed` holds offsets decided beforehand, -1 where the planner is free; such buffers are placed first,
    in their own order. Raises InvalidInputError when too many buffers overlap for a plan in bounded time.
    """
    order = _order(size, fixed)
    offsets = [0] * len(order)
    ends = [0] * len(order)
    sizes = size[order].tolist()
    decided = [-1] * len(order) if fixed is None else fixed[order].tolist()
    for i, placed in enumerate(_overlaps(first[order], last[order])):
        offset = decided[i] if decided[i] >= 0 else _first_gap(sizes[i], placed, offsets, ends)
        offsets[i], ends[i] = offset, offset + sizes[i]
    result = np.empty(len(order), np.int64)
    result[order] = offsets
    return result


def _order(size: Int64, fixed: Int64 | None) -> Int64:
    index = np.arange(len(size))
    if fixed is None:
        return np.lexsort((-index, -size))
    free = fixed < 0
    return np.lexsort((np.where(free, -index, index), np.where(free, -size, 0), free))


def _first_gap(size: int, placed: list[int], offsets: list[int], ends: list[int]) -> int:
    candidate = 0
    for offset, end in sorted([(offsets[j], ends[j]) for j in placed]):
        if offset - candidate >= size:
            break
        if end > candidate:
            candidate = end
    return candidate


def _overlaps(first: Int64, last: Int64) -> list[list[int]]:
    """Return for each buffer those before it that are alive at the same time."""
    count = len(first)
    rows_at_once = max(1, _CHUNK_CELLS // max(count, 1))
    result: list[list[int]] = []
    found = 0
    for start in range(0, count, rows_at_once):
        stop = min(start + rows_at_once, count)
        alive = (first[None, :stop] <= last[start:stop, None]) & (
            last[None, :stop] >= first[start:stop, None]
        )
        rows, columns = np.nonzero(np.tril(alive, start - 1))
        found += len(rows)
        if found > MAX_OVERLAPS:
            raise InvalidInputError(
                f"more than {MAX_OVERLAPS} pairs of {count} buffers are alive together",
                where="memory plan",
                hint="No memory plan is made for a graph like this.",
            )
        bounds = np.searchsorted(rows, np.arange(stop - start + 1)).tolist()
        others = columns.tolist()
        result.extend(others[bounds[i] : bounds[i + 1]] for i in range(stop - start))
    return result
