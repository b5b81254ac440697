"""Depthwise convolutions that give several channels for each of theirs, on an NPU.

Vela makes a convolution of each multiple, with weights of its own, and writes the images one after the other;
these [m, h, w, c] are transposed to [h, w, c, m] at last, which takes up to seven exchanges of two axes. See
`DecomposeDepthwiseConv2D`, `DecomposeTranspose` and `SwapAxes` in Vela 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cycles import COSTS, npu_costs
from perfsage.features.npu.formats import multiples
from perfsage.features.npu.geometry import GEOMETRIES, OUTPUT_KINDS
from perfsage.features.npu.work import DEPTHWISE, POOLING, TRANSPOSED, Float64, Work
from perfsage.features.operands import Flags, Operands

_EXCHANGES = (
    *(("m", "h", "wc", (1, 0, 2)), ("h", "m", "wc", (1, 0, 2)), ("mh", "w", "c", (0, 2, 1))),
    *(("m", "hc", "w", (2, 1, 0)), ("wh", "c", "m", (0, 2, 1)), ("w", "h", "mc", (1, 0, 2))),
    ("hw", "m", "c", (0, 2, 1)),
)
_OF_A_ROW = (("m", "h", "wc", (1, 0, 2)), ("m", "w", "c", (1, 0, 2)), ("w", "m", "c", (0, 2, 1)))
"""The three sides that each exchange sees, as products of axes, and their order after it."""
_NEAR, _EDGE, _FAR = np.array([(g.near.rate, g.edge.rate, g.far.rate) for g in GEOMETRIES]).T


def add_exchanges(made: Float64, operands: Operands, work: Work, refused: Flags) -> None:
    """Add the exchanges of axes to the columns of NPUs, float64[n, 6, d]; `refused` as in `refusals`."""
    count = multiples(operands)
    several = (count > 1) & (work.kind == DEPTHWISE) & ~refused.all(axis=1)
    for low, exchanges in ((False, _EXCHANGES), (True, _OF_A_ROW)):
        rows = np.flatnonzero(several & ((work.out_h == 1) == low))
        for exchange in exchanges if len(rows) else ():
            add_costs(made, rows, npu_costs(_exchanged(work.take(rows), count[rows], exchange)))


def add_costs(made: Float64, rows: NDArray[np.int64], costs: Float64) -> None:
    """Add what follows operators to the columns of NPUs, float64[n, 6, d]; `costs` as in `npu_costs`."""
    column = {name: costs[:, place] for place, name in enumerate(COSTS)}
    near = np.maximum(column["near"], column["near_alone"])
    far = np.maximum(column["far"], column["far_alone"])
    # One waits for the other, whatever each of them takes longest for.
    before = np.maximum(made[rows, 0], np.maximum(made[rows, 1] / _NEAR, made[rows, 3] / _FAR))
    made[rows, 0] = before + np.maximum(column["cycles"], np.maximum(near / _NEAR, far / _EDGE))
    for place, each in ((1, near), (2, far), (3, far)):
        made[rows, place] += each


def _exchanged(work: Work, several: Float64, exchange: tuple[str, str, str, tuple[int, ...]]) -> Work:
    """Return an exchange of two axes as work."""
    *groups, order = exchange
    axes = {"m": several, "h": work.out_h, "w": work.out_w, "c": work.out_c}
    sides = [np.prod([axes[axis] for axis in group], axis=0) for group in groups]
    made = work.plain(len(work))
    made["kind"] = np.full_like(work.kind, TRANSPOSED)
    made["kind_u85"] = np.full_like(work.kind, POOLING)
    made["output"] = np.full_like(work.output, OUTPUT_KINDS.index("other"))
    for place, axis in enumerate("hwc"):
        made[f"in_{axis}"], made[f"out_{axis}"] = sides[place], sides[order[place]]
    for end in ("source", "target"):
        made[end], made[f"{end}_u85"] = work.target, work.target_u85
        made[f"{end}_spill"] = work.target_spill
    return Work(**made)
