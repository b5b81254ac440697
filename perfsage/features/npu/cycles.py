"""Cycles that Ethos-U accelerators take for operators, by Arm's own estimate, before fusion and memory.

The estimate cuts the outputs into blocks, and a block takes as long as its products or its outputs, whichever
is more. Which block that is decide `blocks` and `blocks_u85`. The formulas are those of Vela 5
(`EstimateConvCycles` and what it calls), written for many operators at once. What is waited for is added by
`prefetch`, and what cascades are `cascades` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.asked import asked
from perfsage.features.npu.blocks import Blocks, choose_blocks, laid_end_to_end, shared_blocks
from perfsage.features.npu.broadcasts import add_zeros
from perfsage.features.npu.broken import break_up, scale_back
from perfsage.features.npu.cycles_u55 import cycles_u55
from perfsage.features.npu.cycles_u85 import cycles_u85, microblocks_u85
from perfsage.features.npu.fetch import Moved, moved, stored
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85, Geometry
from perfsage.features.npu.integers import TIMES
from perfsage.features.npu.parts_u85 import by_parts
from perfsage.features.npu.softmax_u55 import softmax_u55
from perfsage.features.npu.softmax_u85 import softmax_u85
from perfsage.features.npu.streams import SCALES_AT_ONCE, elements_u55, elements_u85
from perfsage.features.npu.systems import Systems, systems_of
from perfsage.features.npu.transposes import choose_blocks_straight, untransposed
from perfsage.features.npu.turns import turning
from perfsage.features.npu.work import (
    BY_KERNEL,
    CONVOLUTION,
    ELEMENTWISE,
    NOTHING,
    POOLING,
    PRODUCT,
    SOFTMAX,
    SQUARES,
    TRANSPOSED,
    Work,
    ceil_div,
    round_up,
)

Float64 = NDArray[np.float64]
COSTS = (
    *TIMES,
    *("near", "near_alone", "far", "far_alone", "scale", "input"),
    *("products", "outputs", "blocks", "enter", "leave", "readings", "depth", "micro", "elements"),
)
"""Columns of `npu_costs`: cycles with scales and biases from SRAM and from where constants are, the same with
activations at the graph's ends, as plans are made; bytes as in `fetch`; the cycles of products and of outputs
alone, and how many blocks there are; the planned cycles of the first and of the last transfer, how often
weights are read, the channels of a block and of U85's microblocks, and how many weights there are with their
padding."""
_BATCHED = COSTS.index("enter")
_REMEMBERED = 1 << 16
_AT_ONCE = 256
"""Operators whose blocks are searched together: each has up to 2,500 candidates."""
_known: dict[bytes, Float64] = {}
"""Cycles by who does what: networks repeat operators, and those of one search each other's."""


def npu_costs(work: Work) -> Float64:
    """Return float64[n, len(COSTS), len(GEOMETRIES)]; 0 for views."""
    places: dict[bytes, int] = {}
    whom = asked().tobytes()
    which = np.array([places.setdefault(whom + key, len(places)) for key in work.row_keys()])
    costs: Float64 = _remembered(work, list(places), np.unique(which, return_index=True)[1])[which]
    costs[:, :_BATCHED] *= work.batch[:, None, None]
    costs[:, -1] *= work.groups[:, None]
    return costs


def _remembered(work: Work, keys: list[bytes], rows: NDArray[np.int64]) -> Float64:
    """Return the costs of each key, whose work is in that row, float64[keys, costs, accelerators]."""
    # What is found is held here as well: another thread may make room in the meantime.
    found = [_known.get(key) for key in keys]
    missing = [place for place, costs in enumerate(found) if costs is None]
    if missing:
        made = _in_parts(work.take(rows[missing]))
        if len(_known) + len(missing) > _REMEMBERED:
            _known.clear()
        for place, costs in zip(missing, made, strict=True):
            _known[keys[place]] = found[place] = costs
    return np.stack([costs for costs in found if costs is not None])


def _in_parts(work: Work) -> Float64:
    """Return what `_estimate` does, for operators of like sizes together: the largest says what is tried."""
    made = np.empty((len(work), len(COSTS), len(GEOMETRIES)))
    order = np.lexsort((work.out_c, work.out_w, work.out_h))
    for at in range(0, len(work), _AT_ONCE):
        part = order[at : at + _AT_ONCE]
        made[part] = _estimate(work.take(part))
    return made


def _estimate(work: Work) -> Float64:
    """Return what `npu_costs` gives, without its memory and for one of each batch."""
    made = np.zeros((len(work), len(COSTS), len(GEOMETRIES)))
    broken = (work.kind == PRODUCT) | (work.kind == SQUARES)
    busy = np.flatnonzero((work.kind != NOTHING) & ~((work.kind == SQUARES) & (work.kind_u85 == SQUARES)))
    (old, old_places), (new, new_places) = _asked_of(0), _asked_of(1)
    if len(busy) and old:
        # Nothing is done on the way out there but functions.
        plain = replace(work.take(busy), chained=np.zeros(len(busy)))
        made[busy[:, None], :, old_places] = _costs_u55(plain, old)
    if len(busy) and new:
        costs = partial(_costs_u85, geometries=new)
        made[busy[:, None], :, new_places] = by_parts(work.take(busy), costs, partial(_awaited, new))
    if broken.any():
        break_up(made, COSTS, work)
    if work.turned.any() and new:
        _add_turns(made, work, new, new_places)
    if work.doubled.any():
        add_zeros(made, COSTS, work)
    if (work.wide > 1).any():
        scale_back(made, work)
    # What nobody asked for costs what it costs a relative: plans are made of finite numbers for all.
    for u85, places in enumerate((old_places, new_places)):
        rest = [place for place, is_u85 in enumerate(IS_U85) if is_u85 == u85 and place not in places]
        made[:, :, rest] = made[:, :, places[:1]]
    return made


def _asked_of(u85: int) -> tuple[tuple[Geometry, ...], list[int]]:
    """Return the accelerators that are asked for, U85 or those before it, and their positions."""
    places = [int(place) for place in np.flatnonzero(asked()) if IS_U85[place] == u85]
    return tuple(GEOMETRIES[place] for place in places), places


def _awaited(geometries: tuple[Geometry, ...], costs: Float64) -> Float64:
    """Return how long what `_costs_u85` says takes with its memory in SRAM, float64[n, accelerators]."""
    near = costs[:, :, [COSTS.index("near"), COSTS.index("near_alone")]].max(axis=2)
    return np.asarray(near / [geometry.near.rate for geometry in geometries])


def _add_turns(made: Float64, work: Work, geometries: tuple[Geometry, ...], places: list[int]) -> None:
    """Add the transposes that products do themselves on U85 to what `_estimate` returns."""
    rows = np.flatnonzero(work.turned)
    extra = _costs_u85(turning(work.take(rows)).for_u85(), geometries)
    rates = np.array([geometry.near.rate for geometry in geometries])
    waited = extra[:, :, COSTS.index("near")] / rates
    for column in range(len(TIMES)):
        made[rows[:, None], column, places] += np.maximum(extra[:, :, column], waited)


def _costs_u55(work: Work, geometries: tuple[Geometry, ...]) -> Float64:
    """Return the columns of COSTS on U55 and U65, float64[n, accelerators, costs]."""
    # Blocks of a transpose are those of its input.
    straight = untransposed(work, TRANSPOSED)[0]
    found = shared_blocks(straight, geometries, choose_blocks)
    once = work
    systems, blocks, work = _spread(work, found, geometries)
    bytes_moved = moved(work, systems, blocks)
    element = _element_cycles(work, systems)
    blocked = cycles_u55(work, systems, element, blocks, bytes_moved)
    streamed = _unblocked(work, systems, element, blocked[:, : len(TIMES)], blocks, bytes_moved)
    # A transpose takes as long as its reading or its writing.
    near = np.maximum(bytes_moved.enter, bytes_moved.leave)
    far = np.maximum(bytes_moved.enter_far, bytes_moved.leave_far)
    copied = np.stack([near, near, far, far], axis=1)
    cycles = np.where((work.kind == TRANSPOSED)[:, None], copied, streamed)
    cycles = _with_softmaxes(once, cycles, geometries, softmax_u55)
    elements = elements_u55(work, systems, blocks.part_kernel)
    return _by_operator(
        _columns(work, blocks, cycles, blocked[:, len(TIMES) :], bytes_moved, elements), len(found)
    )


def _costs_u85(work: Work, geometries: tuple[Geometry, ...]) -> Float64:
    """Return the same on U85; 0 for what it does while another operator writes."""
    part_kernel = (work.kind == CONVOLUTION) & work.kernel_first_u85
    # Blocks of a transpose are those of its input, and count by the sides of its output all the same.
    straight, becoming = untransposed(work, POOLING)
    # Blocks are those of stripes where an operator is worked off in stripes.
    striped = [straight.stripe(geometry.spill) for geometry in geometries]
    micros = [microblocks_u85(each, geometry) for each, geometry in zip(striped, geometries, strict=True)]
    found = [
        choose_blocks_straight(each, becoming, geometry, micro, part_kernel)
        for each, geometry, micro in zip(striped, geometries, micros, strict=True)
    ]
    micro = np.concatenate(micros)
    once = work
    systems, blocks, work = _spread(work, found, geometries)
    elements = elements_u85(work, systems, micro, blocks)
    if (work.far == BY_KERNEL).any():
        work = _block_by_block(work, blocks)
    bytes_moved = moved(work, systems, blocks, round_up(micro[:, 2], SCALES_AT_ONCE))
    element = _element_cycles(work, systems) + work.chained * systems.output_cycles[:, 0]
    blocked = cycles_u85(work, systems, element, blocks, micro, bytes_moved)
    cycles = _unblocked(work, systems, element, blocked[:, : len(TIMES)], blocks, bytes_moved)
    cycles = _with_softmaxes(once, cycles, geometries, softmax_u85)
    columns = _columns(work, blocks, cycles, blocked[:, len(TIMES) :], bytes_moved, elements, micro[:, 2])
    return _by_operator(columns * (work.kind != NOTHING)[:, None], len(found))


def _block_by_block(work: Work, blocks: Blocks) -> Work:
    """Finish each block before the next one where parts of a kernel come one by one: its sums stay.

    Blocks are chosen for all of the image, and each element of the kernel then finds its inputs side by side.
    """
    apart = work.far == BY_KERNEL
    area, count = {}, np.ones(len(work))
    for axis, size in (("h", blocks.height), ("w", blocks.width), ("c", blocks.depth)):
        out = getattr(work, f"out_{axis}")
        pieces = np.where(apart, ceil_div(out, np.maximum(size, 1.0)), 1.0)
        area[f"out_{axis}"] = out / pieces
        if axis != "c":
            area[f"in_{axis}"] = np.where(apart, area[f"out_{axis}"], getattr(work, f"in_{axis}"))
        count *= pieces
    return replace(work, passes=work.passes * count, **area)


def _spread(
    work: Work, blocks: list[Blocks], geometries: tuple[Geometry, ...]
) -> tuple[Systems, Blocks, Work]:
    """Return rows for each operator on each accelerator, one accelerator after the other."""
    count = len(work)
    return (
        systems_of(geometries, count),
        laid_end_to_end(blocks),
        work.take(np.tile(np.arange(count), len(blocks))),
    )


def _by_operator(columns: Float64, accelerators: int) -> Float64:
    """Return float64[n, accelerators, costs] of rows for one accelerator after the other."""
    return np.asarray(columns.reshape(accelerators, -1, columns.shape[1]).swapaxes(0, 1))


def _columns(
    work: Work,
    blocks: Blocks,
    cycles: Float64,
    parts: Float64,
    bytes_moved: Moved,
    elements: Float64,
    micro: Float64 | float = 1.0,
) -> Float64:
    """Return the columns of COSTS, of which `parts` are products, outputs and blocks."""
    scales = bytes_moved.scales * bytes_moved.readings
    memory = (bytes_moved.near, bytes_moved.near_alone, bytes_moved.far, bytes_moved.far_alone, scales)
    each = np.column_stack([cycles, *memory, bytes_moved.input, parts]) * work.passes[:, None]
    ends = (bytes_moved.enter_far, bytes_moved.leave_far)
    micros = np.full(len(work), micro)
    return np.column_stack([each, *ends, bytes_moved.readings, blocks.depth, micros, elements])


def _unblocked(
    work: Work,
    systems: Systems,
    element: Float64,
    blocked: Float64,
    blocks: Blocks,
    bytes_moved: Moved,
) -> Float64:
    """Return `blocked`, with what goes element by element in its place."""
    channels = np.where(work.out_c == 1, 1.0, stored(work.out_c, work.target))
    elements = work.out_h * work.out_w * channels
    # Commands for a fourth of a block's transfers have to be issued in the meantime.
    volume = blocks.height * blocks.width * blocks.depth
    near = np.maximum(bytes_moved.enter, bytes_moved.leave) / volume
    far = np.maximum(bytes_moved.enter_far, bytes_moved.leave_far) / volume
    streamed = np.stack(
        [elements * np.maximum(element, (block + element) / 4.0) for block in (near, near, far, far)], axis=1
    )
    return np.where((work.kind == ELEMENTWISE)[:, None], streamed, blocked)


def _with_softmaxes(
    work: Work,
    cycles: Float64,
    geometries: tuple[Geometry, ...],
    estimate: Callable[[Work, tuple[Geometry, ...]], Float64],
) -> Float64:
    """Return `cycles` float64[accelerators * n, 2], with what `estimate` says of softmaxes in their place."""
    rows = np.flatnonzero(work.kind == SOFTMAX)
    if len(rows):
        table = cycles.reshape(len(geometries), len(work), -1)
        table[:, rows] = estimate(work.take(rows), geometries)[:, :, None]
    return cycles


def _element_cycles(work: Work, systems: Systems) -> Float64:
    output = systems.output_cycles[np.arange(len(work)), work.output]
    after = np.where(work.table, systems.table_cycles, np.where(work.clamped, systems.relu_cycles, 0.0))
    return np.asarray(np.maximum(output, after))
