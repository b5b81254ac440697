"""How blocks of outputs follow each other: products, outputs, commands and the first and last transfer."""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.fetch import SCALE_BYTES, Moved
from perfsage.features.npu.systems import Systems
from perfsage.features.npu.work import Float64, Work


def block_cycles(
    work: Work,
    systems: Systems,
    products: Float64,
    outputs: Float64,
    depth: Float64,
    count: Float64,
    bytes_moved: Moved,
) -> Float64:
    """Return the cycles of `count` blocks with so many cycles of products and of outputs each, float64[n, 7].

    Scales and biases have to be there before outputs are: from a copy in SRAM (the first column), or from
    where constants are. The next two columns are the same if inputs and outputs were at the graph's ends,
    and the last ones the cycles of all products, those of all outputs with a copy in SRAM, and `count`.
    """
    made, near = [], np.where(work.is_weighted, SCALE_BYTES * depth * systems.near.read_latency / 256.0, 0.0)
    ends = (bytes_moved.enter, bytes_moved.leave), (bytes_moved.enter_far, bytes_moved.leave_far)
    for enter, leave in ends:
        for memory in (systems.near, systems.far):
            after = np.where(work.is_weighted, SCALE_BYTES * depth * memory.read_latency / 256.0, 0.0)
            made.append(paced(products, np.maximum(outputs, after), count, enter, leave))
    return np.stack([*made, products * count, np.maximum(outputs, near) * count, count], axis=1)


def paced(products: Float64, after: Float64, count: Float64, enter: Float64, leave: Float64) -> Float64:
    """Return the cycles of `count` blocks, the first of which has to come and the last one to go."""
    apart = np.where(count > 1, abs(leave - enter), 0.0)
    issued = (apart + products + after) / 4.0
    first, second = np.maximum(products, issued), np.maximum(after, issued)
    longest, shortest = np.maximum(first, second), np.minimum(first, second)
    return np.asarray(longest * count + shortest + enter + leave)
