"""What enters the graph and is copied to SRAM first, since a convolution reads it more than once (Vela 5)."""

from __future__ import annotations

import numpy as np

from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.formats import BRICK
from perfsage.features.npu.geometry import GEOMETRIES
from perfsage.features.npu.prefetch import FAR, NEAR, ROOM
from perfsage.features.npu.slices import SPLIT_DEPTH
from perfsage.features.npu.work import Flags, Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_ABLE = np.array([g.far.is_dram and g.generation == 85 for g in GEOMETRIES])
_NEAR_INPUT = np.array([g.near.rate / g.near.reading for g in GEOMETRIES])
_FAR_INPUT = np.array([g.edge.rate / g.edge.reading for g in GEOMETRIES])
_, _NEAR_WEIGHTS, _NEAR_LATENCY = np.array(NEAR).T
_FAR_RATE, _FAR_WEIGHTS, _FAR_LATENCY = np.array(FAR).T
_BURST = 128.0
_COPIED, _COPIED_IN_PARTS = 0.15, 0.4
"""Cycles of copying an element out of DRAM, in bursts of so many channels and of fewer: such that Vela's
choice comes out for 25 convolutions on U85-1024."""


def staged_bytes(
    subgraph: Subgraph,
    operands: Operands,
    refused: Flags,
    cost: dict[str, Float64],
    coded: Float64,
    passes: Float64,
) -> Float64:
    """Return the bytes of inputs that are copied, float64[n, d].

    `refused` bool[n, d] is what the CPU does, `cost` of COSTS and `coded` bytes are float64[n, d], and
    `passes` float64[n, d] say how often all of the input is read.
    """
    entering = np.zeros(operands.absent + 1, dtype=np.bool_)
    entering[[*subgraph.inputs]] = True
    entering &= (operands.readers == 1) & ~operands.constant
    able = operands.is_type("CONV_2D", "DEPTHWISE_CONV_2D") & entering[operands.data]
    # Copying few channels takes longer than reading them again.
    able &= operands.dimensions[operands.data, 3] >= BRICK
    made = np.zeros(coded.shape)
    rows = np.flatnonzero(able & ~refused.all(axis=1))
    if not len(rows):
        return made
    size = operands.elements[operands.data[rows], None]
    read = (cost["input"] * passes)[rows]
    channels = np.maximum(operands.dimensions[operands.result[rows], 3], 1.0)[:, None]
    weights = coded[rows] + SCALE_BYTES * channels
    taken = read / _FAR_INPUT + _FAR_LATENCY
    readings = cost["readings"][rows]
    seen = (weights / _FAR_WEIGHTS + _FAR_LATENCY) * readings
    staged = weights * readings / _NEAR_WEIGHTS + _NEAR_LATENCY
    least = coded[rows] / np.ceil(channels / SPLIT_DEPTH)
    moved = np.where(seen > taken, least / _FAR_RATE + _FAR_LATENCY, 0.0)
    depth = operands.dimensions[operands.data[rows], 3][:, None]
    copied = np.where(depth < _BURST, _COPIED_IN_PARTS, _COPIED) * size + read / _NEAR_INPUT + _NEAR_LATENCY
    busy = cost["planned_direct"][rows]
    good = (size <= ROOM) & (read > size) & ((busy <= seen) | (busy <= taken))
    good &= (staged <= moved + taken) & (copied < taken) & _ABLE & ~refused[rows]
    made[rows] = np.where(good, round_up(size, BRICK), 0.0)
    return made
