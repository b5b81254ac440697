"""An NPU's work while it is being worked out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.work import Float64


@dataclass(slots=True)
class Draft:
    """Columns over n operators, changed in place: `out` and `into` [n, 3], `kernel` and the like [n, 2]."""

    kind: NDArray[np.int64]
    batch: Float64
    out: Float64
    into: Float64
    kernel: Float64
    stride: Float64
    dilation: Float64
