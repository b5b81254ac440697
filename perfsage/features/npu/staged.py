"""What enters the graph and is copied to SRAM first, since a convolution reads it more than once (Vela 5).

The copy is an operator of its own, and the convolution then reads rows in SRAM (`TryExplicitBuffering`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cycles import COSTS, npu_costs
from perfsage.features.npu.extra_parts import moving
from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.formats import ALIASES, BRICK, EDGE, LINEAR
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85
from perfsage.features.npu.slices import SPLIT_DEPTH
from perfsage.features.npu.tasks import FAR, NEAR, ROOM
from perfsage.features.npu.work import Flags, Float64, Work, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_ABLE = np.array([g.far.is_dram and g.generation == 85 for g in GEOMETRIES])
_NEAR_INPUT = np.array([g.near.rate / g.near.reading for g in GEOMETRIES])
_FAR_INPUT = np.array([g.edge.rate / g.edge.reading for g in GEOMETRIES])
_, _NEAR_WEIGHTS, _NEAR_LATENCY = np.array(NEAR).T
_FAR_RATE, _FAR_WEIGHTS, _FAR_LATENCY = np.array(FAR).T


@dataclass(frozen=True, slots=True)
class Staged:
    """`bytes` float64[n, d] of images that are copied; `rows` int64[k] are their operators.

    `copies` float64[k, len(COSTS), d] are the costs of copying them, and `lead` float64[n, d] the cycles
    that it takes as plans have it, infinite elsewhere.
    """

    bytes: Float64
    rows: NDArray[np.int64]
    copies: Float64
    lead: Float64


def stage(
    subgraph: Subgraph,
    operands: Operands,
    work: Work,
    refused: Flags,
    cost: dict[str, Float64],
    coded: Float64,
) -> Staged:
    """Return what is copied, and put what its reader takes then into `cost` of COSTS, float64[n, d] each.

    `refused` bool[n, 2] is what the CPU does, and `coded` float64[n, d] are bytes of weights.
    """
    made, lead = np.zeros(coded.shape), np.full(coded.shape, np.inf)
    rows = _entered(subgraph, operands, refused)
    good = np.zeros((0, coded.shape[1]), dtype=np.bool_)
    copies = np.zeros((0, len(COSTS), coded.shape[1]))
    if len(rows):
        rows, good, copies = _worth_it(operands, work, cost, coded, rows)
    if len(rows):
        size = operands.elements[operands.data[rows], None]
        made[rows] = np.where(good, round_up(size, BRICK), 0.0)
        lead[rows] = np.where(good, copies[:, COSTS.index("cycles")], np.inf)
        near = np.full(len(rows), LINEAR)
        costs = npu_costs(replace(work.take(rows), source=near, source_u85=near))
        for place, name in enumerate(COSTS):
            cost[name][rows] = np.where(good, costs[:, place], cost[name][rows])
    return Staged(made, rows, copies, lead)


def _entered(subgraph: Subgraph, operands: Operands, refused: Flags) -> NDArray[np.int64]:
    """Return the rows of convolutions that alone read what enters the graph, int64[k]."""
    entering = np.zeros(operands.absent + 1, dtype=np.bool_)
    entering[[*subgraph.inputs]] = True
    entering &= (operands.readers == 1) & ~operands.constant
    for row in np.flatnonzero(operands.is_type(*ALIASES)).tolist() if entering.any() else ():
        result = operands.result[row]
        entering[result] |= entering[operands.data[row]] & (operands.readers[result] == 1)
    able = operands.is_type("CONV_2D", "DEPTHWISE_CONV_2D") & entering[operands.data]
    # Copying few channels takes longer than reading them again.
    able &= (operands.dimensions[operands.data, 3] >= BRICK) & ~refused.any(axis=1)
    return np.flatnonzero(able)


def _worth_it(
    operands: Operands, work: Work, cost: dict[str, Float64], coded: Float64, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Flags, Float64]:
    """Return those of `rows` whose images are copied, by whom, bool[k, d], and the costs of copying them."""
    size, some = operands.elements[operands.data[rows], None], work.take(rows)
    taken = {name: each[rows] for name, each in cost.items()}
    summed = np.stack([some.is_matrix, some.is_matrix_u85], axis=1)[:, IS_U85]
    passes = np.where(summed, np.ceil(some.out_c[:, None] / np.maximum(taken["depth"], 1.0)), 1.0)
    channels = np.maximum(operands.dimensions[operands.result[rows], 3], 1.0)[:, None]
    good = _ABLE & (size <= ROOM) & _may_help(taken, size, passes, coded[rows], channels)
    copies = npu_costs(_copy(some, operands.dimensions[operands.data[rows], 1:]))
    read = taken["input"] * passes
    copied = copies[:, COSTS.index("cycles")] + read / _NEAR_INPUT + _NEAR_LATENCY
    good &= copied < read / _FAR_INPUT + _FAR_LATENCY
    kept = good.any(axis=1)
    return rows[kept], good[kept], (copies * good[:, None])[kept]


def _may_help(
    cost: dict[str, Float64], size: Float64, passes: Float64, coded: Float64, channels: Float64
) -> Flags:
    """Return where reading images of `size` float64[k, 1] takes longest, not their weights, bool[k, d]."""
    read = cost["input"] * passes
    weights = coded + SCALE_BYTES * channels
    taken = read / _FAR_INPUT + _FAR_LATENCY
    seen = (weights / _FAR_WEIGHTS + _FAR_LATENCY) * cost["readings"]
    staged = weights * cost["readings"] / _NEAR_WEIGHTS + _NEAR_LATENCY
    least = coded / np.ceil(channels / SPLIT_DEPTH)
    moved = np.where(seen > taken, least / _FAR_RATE + _FAR_LATENCY, 0.0)
    busy = cost["planned_direct"]
    return np.asarray((read > size) & ((busy <= seen) | (busy <= taken)) & (staged <= moved + taken))


def _copy(work: Work, images: Float64) -> Work:
    """Return copies of `images` float64[k, 3] from DRAM to SRAM as work."""
    ends = {name: np.full(len(work), EDGE) for name in ("source", "source_u85")}
    ends |= {name: np.full(len(work), LINEAR) for name in ("target", "target_u85")}
    return moving(work, images, images, ends | {"copied": np.ones(len(work), dtype=np.bool_)})
