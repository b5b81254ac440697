"""Transposed convolutions on U85: one for each place between the zeros, with its own part of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from perfsage.features.npu.work import ELEMENTWISE, Float64, Work


def by_parts(work: Work, costs: Callable[[Work], Float64], awaited: Callable[[Float64], Float64]) -> Float64:
    """Return the `costs` of `work` on U85; of parts of a kernel that are not alike, the mean.

    A kernel of 9 with 2 between outputs has parts of 5 and of 4. Each part takes as long as its memory, of
    which `awaited` says how long that is.
    """
    made = costs(work.for_u85())
    sides = np.stack([work.kernel_h, work.kernel_w]) / work.enlarged
    uneven = (sides % 1 > 0).any(axis=0) & (work.enlarged > 1) & (work.kind_u85 != ELEMENTWISE)
    uneven = np.flatnonzero(uneven)
    if not len(uneven):
        return made
    some = work.take(uneven)
    made[uneven] = 0.0
    for high in (0, 1):
        for wide in (0, 1):
            (part_h, share_h), (part_w, share_w) = (
                _part(size, some.enlarged, more)
                for size, more in ((some.kernel_h, high), (some.kernel_w, wide))
            )
            sizes: dict[str, Any] = {
                "kernel_h": part_h,
                "kernel_w": part_w,
                "span_h": part_h,
                "span_w": part_w,
            }
            each = costs(replace(some.for_u85(), **sizes))
            each[:, :, :2] = np.maximum(each[:, :, :2], awaited(each)[:, :, None])
            made[uneven] += each * (share_h * share_w)[:, None, None]
    return made


def _part(size: Float64, apart: Float64, more: int) -> tuple[Float64, Float64]:
    """Return a side of the smaller or the larger (`more`) parts of a kernel, and their share of all parts."""
    larger = size % apart / apart
    whole = np.floor(size / apart) + more
    return np.maximum(whole, 1.0), larger if more else 1.0 - larger
