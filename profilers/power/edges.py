"""Falling edges of a board's timestamp pin, as bench instruments see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from profilers.power.monitor import FloatArray


def falling_edges_s(levels: NDArray[np.bool_], times_s: FloatArray) -> tuple[float, ...]:
    """Return the times at which a logic input goes low.

    `levels` (n,) and `times_s` (n,) belong together; the pin idles high, and a timestamp pulls it low for
    at least a microsecond (MLPerf Tiny, `th_timestamp`).
    """
    falls = np.flatnonzero(levels[:-1] & ~levels[1:]) + 1
    return tuple(float(time) for time in times_s[falls])
