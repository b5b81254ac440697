"""The images between, where U55 and U65 enlarge one in several steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import BRICK, in_phases
from perfsage.features.npu.resizing import BILINEAR, NEAREST
from perfsage.features.npu.work import Float64, round_up
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]

RIMMED, HALF = "rimmed", "half"
"""The image with a rim that four phases are made of, and the last of those that are doubled."""


def resizing_rooms(
    subgraph: Subgraph, operands: Operands, refused: Flags
) -> dict[str, tuple[Flags, Float64]]:
    """Return which operators make such an image, bool[n], and its bytes, float64[n].

    It is there with what is read at first, and with what is written at last. `refused` bool[n] is what the
    CPU does.
    """
    resized = operands.is_type(BILINEAR, NEAREST) & ~refused
    if not resized.any():
        return {}
    phases = in_phases(subgraph, operands) & resized
    out, into = operands.dimensions[operands.result], operands.dimensions[operands.data]
    rimmed = round_up((into[:, 1] + 2.0) * (into[:, 2] + 2.0) * into[:, 3], BRICK)
    several = resized & ~phases & (out[:, 1] >= 4 * into[:, 1])
    half = out[:, :3].prod(axis=1) / 4.0 * round_up(out[:, 3], BRICK)
    return {RIMMED: (phases, rimmed), HALF: (several, half)}
