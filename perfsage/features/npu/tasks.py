"""What an operator has to do on each accelerator, as far as copying its weights ahead depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.fetch import SCALE_BYTES
from perfsage.features.npu.geometry import GEOMETRIES
from perfsage.features.npu.slices import SPLIT_DEPTH, Pairs
from perfsage.features.npu.streams import MICRO_DEPTH
from perfsage.features.npu.work import SPILL_BYTES, Flags, Float64, round_up

Int64 = NDArray[np.int64]

SAME = ("products", "outputs", "blocks")
"""What plans of slices need of an operator's costs."""
ROOM = [SPILL_BYTES[g.spill - 1] if g.spill <= len(SPILL_BYTES) else np.inf for g in GEOMETRIES]
"""Bytes of SRAM for activations and copied weights."""
NEAR = [(g.near.rate / g.near.writing, g.near.rate / g.near.weights, g.near.read_latency) for g in GEOMETRIES]
FAR = [(g.far.rate / g.far.reading, g.far.rate / g.far.weights, g.far.read_latency) for g in GEOMETRIES]
_INPUT = [(g.near.rate / g.near.reading, g.edge.rate / g.edge.reading) for g in GEOMETRIES]
_EDGE = [(g.edge.read_latency, g.edge.write_latency) for g in GEOMETRIES]
_SYSTEMS = np.column_stack([NEAR, FAR, _INPUT, _EDGE, ROOM]).T.copy()


_TAKEN = ("enter", "leave", "input", "pass_depth", "movable", "block", "products", "outputs")


@dataclass(frozen=True, slots=True)
class Task:
    """What one operator has to do on each accelerator, float64[n, d] unless named otherwise.

    `weights` are coded bytes, `cycles` those of the operator with its weights in SRAM and `direct` where they
    are, `planned` and `planned_direct` the same before activations have a place in SRAM, with `enter` and
    `leave` for the first and the last transfer. `readings` is how often it reads weights, `block` the
    channels of a block and `granule` those that scales come for; `channels` float64[n] are the outputs',
    `size` float64[n] the bytes of the input. `input` are the bytes of one pass over the image for
    `pass_depth` channels, which may come from SRAM where it is `movable` bool[n, d]. The next operator's
    weights come during the last `tail` cycles at most, or in just these where something else `follows`
    bool[n, 1]; an operator's own ones during `lead` cycles where that is finite. Of its inputs, `staged`
    float64[n, d] bytes are copied to SRAM meanwhile. An operator is done in `pieces` float64[n], one for each
    multiple of channels or each corner. `products` and `outputs` are the
    cycles of either alone in so many `blocks`, and `stripes` is how many stripes an operator of a cascade is
    worked off in, 0 elsewhere, and `room` the bytes that weights find beside these.
    """

    weights: Float64
    cycles: Float64
    direct: Float64
    planned: Float64
    planned_direct: Float64
    enter: Float64
    leave: Float64
    input: Float64
    pass_depth: Float64
    size: Float64
    movable: Flags
    tail: Float64
    follows: Flags
    lead: Float64
    staged: Float64
    pieces: Float64
    readings: Float64
    block: Float64
    channels: Float64
    granule: Float64
    products: Float64
    outputs: Float64
    blocks: Float64
    stripes: Float64
    room: Float64


def pairs_of(task: Task, where: tuple[Int64, Int64], before: Int64) -> Pairs:
    """Return each operator whose weights may be copied with its accelerator, `where` int64[k] each.

    `before` int64[k] are the rows of the operators before, -1 where there is none.
    """
    row, accelerator = where
    flat = row * len(GEOMETRIES) + accelerator
    stripes, scaled, images, weights = (
        table.take(flat) for table in (task.stripes, task.granule, task.staged, task.weights)
    )
    channels = np.maximum(task.channels.take(row), 1.0)
    # Scales come for whole granules of channels.
    stored = round_up(weights + SCALE_BYTES * round_up(channels, scaled), SPLIT_DEPTH)
    pieces = task.pieces.take(row)
    systems = _SYSTEMS.take(accelerator, axis=1)
    _, _, near_latency, far_rate, _, far_latency = systems[:6]
    near_input, far_input, edge_latency, write_latency, room = systems[6:]
    # What works in stripes reads its weights once more for each of them, as plans have it.
    readings = task.readings.take(flat) * np.maximum(np.ceil(stripes), 1.0)
    taken = {name: getattr(task, name).take(flat) for name in _TAKEN}
    blocks = np.maximum(task.blocks.take(flat), 1.0)
    planned, direct = task.planned.take(flat), task.planned_direct.take(flat)
    cycles, direct = _in_stripes(stripes, planned, direct, blocks, taken)
    return Pairs(
        stored=stored,
        real=task.cycles.take(flat),
        cycles=cycles,
        direct=direct,
        size=task.size.take(row),
        near_latency=near_latency,
        near_input=near_input,
        far_input=np.where(images > 0, near_input, far_input),
        edge_latency=np.where(images > 0, near_latency, edge_latency),
        write_latency=write_latency,
        readings=readings,
        channels=channels,
        alone=(before < 0) & (images == 0),
        stripes=stripes,
        inside=_inside(task, stripes, before, accelerator),
        blocks=blocks,
        pieces=pieces,
        whole=np.where(scaled > SPLIT_DEPTH, scaled, MICRO_DEPTH),
        **_copies(stored, pieces, readings, systems),
        far_rate=far_rate,
        far_latency=far_latency,
        granule=np.maximum(scaled, SPLIT_DEPTH),
        micro=scaled,
        room=np.minimum(task.room.take(flat), room - images),
        **taken,
    )


def _copies(stored: Float64, pieces: Float64, readings: Float64, systems: Float64) -> dict[str, Any]:
    """Return the cycles of copying weights, and of reading them where they are and in SRAM."""
    near_rate, near_weights, near_latency, far_rate, far_weights, far_latency = systems[:6]
    each = stored / pieces
    return {
        "copy": np.maximum(each / far_rate + far_latency, each / near_rate + near_latency),
        "unmoved": (stored / far_weights + far_latency) * readings,
        "buffered": (stored / near_weights + near_latency) * readings,
    }


def _inside(task: Task, stripes: Float64, before: Int64, accelerator: Int64) -> Flags:
    """Return which pairs work in `stripes` float64[k] as does the operator before, bool[k]."""
    made = np.zeros(len(stripes), dtype=np.bool_)
    some = np.flatnonzero((stripes > 0) & (before >= 0))
    made[some] = task.stripes[before[some], accelerator[some]] > 0
    return made


def _in_stripes(
    stripes: Float64, planned: Float64, direct: Float64, blocks: Float64, taken: dict[str, Float64]
) -> tuple[Float64, Float64]:
    """Return the planned cycles of all stripes, with weights in SRAM and where they are, float64[k] each.

    Each stripe has a first and a last transfer, of weights too, and a block that nothing else hides.
    """
    cycles = planned
    if (stripes > 1.0).any():
        hidden = np.minimum(taken["products"], taken["outputs"]) / blocks
        cycles = planned + np.maximum(stripes - 1.0, 0.0) * (taken["enter"] + taken["leave"] + hidden)
    return cycles, cycles + (direct - planned) * np.maximum(stripes, 1.0)
