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


def place(size: Int64, first: Int64, last: Int64, fixed: Int64 | None = None) -> Int64:
    """Return the offset of each buffer of `size` bytes that is alive from step `first` to step `last`.

    `fixed` holds offsets decided beforehand, -1 where the planner is free; such buffers are placed first,
    in their own order. Raises InvalidInputError when too many buffers overlap for a plan in bounded time.
    """
    order = _order(size, fixed)
    decided = [-1] * len(order) if fixed is None else fixed[order].tolist()
    others, bounds = _overlaps(first[order], last[order])
    # A view hands out single numbers without making a list of all pairs.
    pairs = others.data
    placed: list[tuple[int, int]] = []
    for begin, end, offset, length in zip(bounds, bounds[1:], decided, size[order].tolist(), strict=False):
        if offset < 0:
            offset = _first_gap(length, [placed[j] for j in pairs[begin:end]]) if end > begin else 0
        placed.append((offset, offset + length))
    result = np.empty(len(order), np.int64)
    result[order] = [offset for offset, _ in placed]
    return result


def _order(size: Int64, fixed: Int64 | None) -> Int64:
    index = np.arange(len(size))
    if fixed is None:
        return np.lexsort((-index, -size))
    free = fixed < 0
    return np.lexsort((np.where(free, -index, index), np.where(free, -size, 0), free))


def _first_gap(size: int, taken: list[tuple[int, int]]) -> int:
    """Return the lowest offset with `size` free bytes behind it, given (offset, end) of what is taken."""
    taken.sort()
    candidate = 0
    for offset, end in taken:
        if offset - candidate >= size:
            break
        if end > candidate:
            candidate = end
    return candidate


def _overlaps(first: Int64, last: Int64) -> tuple[Int64, list[int]]:
    """Return for each buffer those before it that are alive at the same time.

    Those before buffer i are others[bounds[i] : bounds[i + 1]], given (others, bounds).
    """
    count = len(first)
    by_start = np.argsort(first, kind="stable")
    # In this order, whatever begins while a buffer is alive stands right behind it.
    behind = np.searchsorted(first[by_start], last[by_start], "right") - np.arange(1, count + 1)
    total = int(behind.sum())
    if total > MAX_OVERLAPS:
        raise InvalidInputError(
            f"more than {MAX_OVERLAPS} pairs of {count} buffers are alive together",
            where="memory plan",
            hint="No memory plan is made for a graph like this.",
        )
    skipped = np.arange(1, count + 1) - (np.cumsum(behind) - behind)
    places = by_start.astype(np.int32)
    one, other = np.repeat(places, behind), places[np.repeat(skipped, behind) + np.arange(total)]
    # Sorted as one number a pair: by the later of the two, then by the earlier.
    pairs = np.maximum(one, other) * np.int64(count) + np.minimum(one, other)
    pairs.sort()
    bounds = np.searchsorted(pairs, np.arange(count + 1) * count)
    return pairs % max(count, 1), bounds.tolist()
