"""The blocks of transposes on U85: of the shape of the input, with all channels where these fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfsage.features.npu.blocks import SUM_BYTES, Blocks
from perfsage.features.npu.blocks_alone import GRANULE, MOST, input_units
from perfsage.features.npu.blocks_u85 import choose_blocks_u85
from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.work import Flags, Float64, Work, round_up


def untransposed(work: Work, kind: int) -> tuple[Work, Flags]:
    """Return work with the results of transposes in the shape of their data, and which these are.

    `kind` is what transposes are: TRANSPOSED on U55 and U65, POOLING on U85.
    """
    ins, outs = (np.stack([getattr(work, f"{end}_{a}") for a in "hwc"]) for end in ("in", "out"))
    turned = (work.kind == kind) & (ins != outs).any(axis=0) & (ins.prod(axis=0) == outs.prod(axis=0))
    turned &= work.kernel_h * work.kernel_w == 1
    # Where only sides of 1 move, elements stay where they are.
    turned &= (_without_ones(ins) != _without_ones(outs)).any(axis=0)
    if not turned.any():
        return work, turned
    height, width, channels = np.where(turned, ins, outs)
    return replace(work, out_h=height, out_w=width, out_c=channels), turned


def _without_ones(sides: Float64) -> Float64:
    """Return sides float64[3, n] with those of 1 at the end."""
    return np.take_along_axis(sides, np.argsort(sides == 1, axis=0, kind="stable"), axis=0)


def choose_blocks_straight(
    work: Work, turned: Flags, geometry: Geometry, micro: Float64, part_kernel: Flags
) -> Blocks:
    """Return the blocks of all operators of U85; `work` and `turned` bool[n] are from `untransposed`."""
    blocks = choose_blocks_u85(work, geometry, micro, part_kernel)
    if not turned.any():
        return blocks
    depth = np.minimum(round_up(work.out_c, GRANULE), MOST[2])
    area = np.floor(geometry.sum_bytes / SUM_BYTES / depth)
    whole = turned & (area >= micro[:, 0] * micro[:, 1])
    width = np.where(whole, np.minimum(blocks.width, np.maximum(area // micro[:, 0], 1.0)), blocks.width)
    rows = np.maximum(np.floor(area / width / micro[:, 0]), 1.0) * micro[:, 0]
    height = np.where(whole, np.minimum(blocks.height, rows), blocks.height)
    depth = np.where(whole, depth, blocks.depth)
    # Inputs come in whole units of channels.
    inner = round_up(depth, input_units(geometry, micro, depth[:, None])[2, :, 0])
    elements = np.where(whole, height * width * inner, blocks.input_elements)
    return replace(
        blocks,
        height=height,
        width=width,
        depth=depth,
        input_width=np.where(whole, width, blocks.input_width),
        input_depth=np.where(whole, inner, blocks.input_depth),
        input_elements=elements,
    )
