"""Depthwise convolutions that give several channels for each of theirs, on an NPU.

Vela makes a convolution of each multiple, with weights of its own, and writes the images one after the other;
these [m, h, w, c] are transposed to [h, w, c, m] at last, which takes up to seven exchanges of two axes. See
`DecomposeDepthwiseConv2D`, `DecomposeTranspose` and `SwapAxes` in Vela 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cycles import npu_costs
from perfsage.features.npu.extra_parts import moving
from perfsage.features.npu.formats import BRICKS, LINEAR, multiples
from perfsage.features.npu.work import DEPTHWISE, TRANSPOSED, Float64, Work
from perfsage.features.operands import Flags, Operands

_EXCHANGES = (
    *(("m", "h", "wc", (1, 0, 2)), ("h", "m", "wc", (1, 0, 2)), ("mh", "w", "c", (0, 2, 1))),
    *(("m", "hc", "w", (2, 1, 0)), ("wh", "c", "m", (0, 2, 1)), ("w", "h", "mc", (1, 0, 2))),
    ("hw", "m", "c", (0, 2, 1)),
)
_OF_A_ROW = (("m", "h", "wc", (1, 0, 2)), ("m", "w", "c", (1, 0, 2)), ("w", "m", "c", (0, 2, 1)))
"""The three sides that each exchange sees, as products of axes, and their order after it."""
_ENDS = ("", "_u85", "_spill")


def exchange_costs(operands: Operands, work: Work, refused: Flags) -> list[tuple[NDArray[np.int64], Float64]]:
    """Return the rows and the costs of all exchanges of axes in turn; `refused` is as in `refusals`."""
    count = multiples(operands)
    several = (count > 1) & (work.kind == DEPTHWISE) & ~refused.all(axis=1)
    made = []
    for low, exchanges in ((False, _EXCHANGES), (True, _OF_A_ROW)):
        rows = np.flatnonzero(several & ((work.out_h == 1) == low))
        for exchange in exchanges if len(rows) else ():
            made.append((rows, npu_costs(_exchanged(work.take(rows), count[rows], exchange))))
    return made


def _exchanged(work: Work, several: Float64, exchange: tuple[str, str, str, tuple[int, ...]]) -> Work:
    """Return an exchange of two axes as work."""
    *groups, order = exchange
    axes = {"m": several, "h": work.out_h, "w": work.out_w, "c": work.out_c}
    sides = np.stack([np.prod([axes[axis] for axis in group], axis=0) for group in groups], axis=1)
    # All of them lie where the result does, in rows, since they are seen in other shapes.
    ends = {end + each: getattr(work, "target" + each) for end in ("source", "target") for each in _ENDS}
    rows = np.where(work.target_u85 == BRICKS, LINEAR, work.target_u85)
    ends |= {"source_u85": rows, "target_u85": rows}
    return moving(work, sides, sides[:, order], ends, kind=TRANSPOSED)
