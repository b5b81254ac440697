"""What an NPU's compiler stores for each operator beside its coded weights: scales, and what slices add.

Each slice of channels is coded on its own, in as many streams as there are cores, with a head and a palette
of its own; scales and biases come for whole microblocks on U85, and for each stream on U55 and U65 (Vela 5,
`TryEncodeWeightAndScaleTensor`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding import piece_bytes
from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.geometry import IS_U85
from perfsage.features.npu.prefetch import Prefetch
from perfsage.features.npu.streams import SCALES_AT_ONCE, STREAMS, used_streams
from perfsage.features.npu.work import Float64, Work, round_up

_ALIGNMENT = 16.0


def added_bytes(
    work: Work, coded: Float64, micro: Float64, fetch: Prefetch, statistics: NDArray[np.float32]
) -> Float64:
    """Return the bytes that are stored beside `coded` weights and SCALE_BYTES a channel, float64[n, d].

    `micro` float64[n, d] are the channels of U85's microblocks.
    """
    channels = work.out_c[:, None]
    each = round_up(SCALE_BYTES * np.ceil(channels / STREAMS), _ALIGNMENT) * used_streams(work.out_c)
    whole = SCALE_BYTES * round_up(channels, round_up(np.maximum(micro, 1.0), SCALES_AT_ONCE)) * fetch.scales
    parts = np.where(IS_U85, work.enlarged[:, None] ** 2, 1.0)
    added = (np.where(IS_U85, whole, each) - SCALE_BYTES * channels) * parts
    added += piece_bytes(statistics) * (fetch.slices - 1.0) * STREAMS
    return np.where(coded > 0, added, 0.0)
