"""The blocks of transposes on U85: of the shape of the input, with all channels where these fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.blocks import Blocks
from perfsage.features.npu.blocks_alone import input_units
from perfsage.features.npu.blocks_u85 import choose_blocks_u85
from perfsage.features.npu.fitted_u85 import fitted
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.work import Flags, Float64, Work, round_up

Int64 = NDArray[np.int64]


def untransposed(work: Work, kind: int) -> tuple[Work, Int64]:
    """Return work with the results of transposes in the shape of their data.

    Then which of the data's height, width and channels become channels, int64[n], -1 for no transpose.
    `kind` is what transposes are: TRANSPOSED on U55 and U65, POOLING on U85.
    """
    ins, outs = (np.stack([getattr(work, f"{end}_{a}") for a in "hwc"]) for end in ("in", "out"))
    turned = (work.kind == kind) & (ins != outs).any(axis=0) & (ins.prod(axis=0) == outs.prod(axis=0))
    turned &= work.kernel_h * work.kernel_w == 1
    # Where only sides of 1 move, elements stay where they are.
    turned &= (_without_ones(ins) != _without_ones(outs)).any(axis=0)
    becoming = np.full(len(turned), -1)
    if not turned.any():
        return work, becoming
    becoming = np.where(turned, np.where(outs[2] == ins[2], 2, np.where(outs[2] == ins[1], 1, 0)), becoming)
    height, width, channels = np.where(turned, ins, outs)
    return replace(work, out_h=height, out_w=width, out_c=channels), becoming


def _without_ones(sides: Float64) -> Float64:
    """Return sides float64[3, n] with those of 1 at the end."""
    return np.take_along_axis(sides, np.argsort(sides == 1, axis=0, kind="stable"), axis=0)


def choose_blocks_straight(
    work: Work, becoming: Int64, geometry: Geometry, micro: Float64, part_kernel: Flags
) -> Blocks:
    """Return the blocks of all operators of U85; `work` and `becoming` int64[n] are from `untransposed`."""
    blocks = choose_blocks_u85(work, geometry, micro, part_kernel)
    rows = np.flatnonzero(becoming >= 0)
    if not len(rows):
        return blocks
    height, width, depth = fitted(work.those(rows), geometry, micro[rows], becoming[rows])
    # Inputs come in whole units.
    unit_h, unit_w, unit_c = input_units(geometry, micro[rows], depth[:, None])[:, :, 0]
    wide, inner = round_up(width, unit_w), round_up(depth, unit_c)
    found = {
        "height": height,
        "width": width,
        "depth": depth,
        "input_width": wide,
        "input_depth": inner,
        "input_elements": round_up(height, unit_h) * wide * inner,
    }
    columns = {name: getattr(blocks, name).copy() for name in found}
    for name, column in columns.items():
        column[rows] = found[name]
    return replace(blocks, **columns)
