"""What a plan has: the work of each operator, what it takes on each accelerator, and what is copied ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding import uniform_bytes
from perfsage.features.npu.activations import activation_costs, before_activations
from perfsage.features.npu.asked import asked
from perfsage.features.npu.cycles import COSTS, npu_costs
from perfsage.features.npu.extra_parts import Int64
from perfsage.features.npu.far_strides import fetched_in_pieces
from perfsage.features.npu.fetch import stored
from perfsage.features.npu.fills import fill_costs
from perfsage.features.npu.formats import EDGE, in_phases
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85
from perfsage.features.npu.lowering import work_of
from perfsage.features.npu.multiples import exchange_costs
from perfsage.features.npu.phases import rim_costs
from perfsage.features.npu.prefetch import Prefetch, prefetched
from perfsage.features.npu.slices import SPLIT_DEPTH
from perfsage.features.npu.sparse import skip_zeros
from perfsage.features.npu.spills import Spills
from perfsage.features.npu.squares import scaled_squares
from perfsage.features.npu.staged import Staged, stage
from perfsage.features.npu.stored import coded_weights, whole_scales
from perfsage.features.npu.streams import SCALES_AT_ONCE, STREAMS, used_streams
from perfsage.features.npu.tasks import SAME, Task
from perfsage.features.npu.work import (
    BY_OUTPUT,
    CONVOLUTION,
    DEPTHWISE,
    INTEGER_BYTES,
    NOTHING,
    POOLING,
    SPILL_BYTES,
    SQUARES,
    Flags,
    Float64,
    Work,
    round_up,
)
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

_SCALED_PIXELS, _SCALED_GRANULE, _SCALED_DEPTH = 4.0, 8.0, 128.0
"""Pixels of a block of what a mean is scaled in, and what its channels are a multiple of and at most."""
_EDGE_LATENCY, _EDGE_RATE = np.array([(g.edge.read_latency, g.edge.rate) for g in GEOMETRIES]).T
_SCALED = np.array([geometry.integer_cycles.two for geometry in GEOMETRIES])
_PHASES = 4.0
"""Convolutions that double an image, one for each corner."""
_RIMS = 2.0
"""Columns at the left and at the right are copied last, one after the other."""
_STRIPED = [min(g.spill, len(SPILL_BYTES) + 1) - 1 for g in GEOMETRIES]
"""Which column of `Work.stripes` says how many stripes there are: the last one says none."""
LIMITED = [[g.spill - 1 for g in GEOMETRIES].index(place) for place in range(len(SPILL_BYTES))]


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to do and what it takes: `cost` of COSTS and `coded` bytes, each float64[n, d].

    `beside` are rows of operators, int64[k], with the costs of what they become beside themselves.
    """

    work: Work
    cost: dict[str, Float64]
    coded: Float64
    beside: list[tuple[Int64, Float64]]
    fetch: Prefetch

    @property
    def ahead(self) -> Float64:
        """The bytes of weights that are copied where SRAM is limited, float64[n, limits]."""
        return self.fetch.ahead[:, LIMITED]

    @property
    def copied(self) -> Flags:
        """Whose weights are copied to SRAM where that is limited, bool[n, limits]."""
        return self.fetch.kept[:, LIMITED]

    @property
    def weights(self) -> Float64:
        """The bytes of weights and scales where SRAM is limited, float64[n, limits]."""
        scales = whole_scales(self.work.out_c, self.cost["micro"][:, LIMITED])
        bytes_ = round_up(self.coded[:, LIMITED] + scales, SPLIT_DEPTH)
        return np.where(self.coded[:, LIMITED] > 0, bytes_, 0.0)

    @property
    def reads(self) -> Float64:
        """The bytes of data that windows are read from, with their rims, float64[n, limits]; else 0."""
        work = self.work.for_u85()
        depth = np.maximum(self.cost["depth"][:, LIMITED], 1.0)
        passes = np.where(work.is_matrix[:, None], np.ceil(work.out_c[:, None] / depth), 1.0)
        windows = np.isin(work.kind, (CONVOLUTION, DEPTHWISE, POOLING))
        return np.where(windows[:, None], self.cost["input"][:, LIMITED] * passes, 0.0)


def planned(
    subgraph: Subgraph,
    operands: Operands,
    shapes: Float64,
    statistics: NDArray[np.float32],
    refused: NDArray[np.bool_],
    spills: Spills,
) -> Plan:
    """Return the plan for tensors where `spills` says."""
    work = skip_zeros(work_of(subgraph, operands, shapes, refused, spills), operands, statistics)
    # Each of them in one piece: nearly all that follows goes over one cost of all operators.
    costs = npu_costs(before_activations(subgraph, operands, work))
    cost = dict(zip(COSTS, np.ascontiguousarray(np.moveaxis(costs, 1, 0)), strict=True))
    work = _as_it_was(work)
    coded = _coded(work, operands, cost, statistics)
    exchanges = exchange_costs(operands, work, refused)
    activations = activation_costs(subgraph, operands, work, refused)
    rims = rim_costs(subgraph, operands, work, refused)
    fills = fill_costs(subgraph, operands, work, refused)
    after = [*exchanges, *fills, activations]
    staged = stage(subgraph, operands, work, refused, cost, coded)
    given = subgraph, operands, work, cost, coded, refused, spills.room
    fetch = _prefetch(*given, after, rims[-1:], staged)
    return Plan(work, cost, coded, [*after, *rims, (staged.rows, staged.copies)], fetch)


def _tails(work: Work, operands: Operands, cycles: Float64) -> Float64:
    """Return the cycles of what ends an operator of so many `cycles`, float64[n, d].

    U55 and U65 scale a mean at last, and of many convolutions the last one is a small part. Squares are
    scaled on all.
    """
    ends = operands.is_type("MEAN")[:, None] & (np.array(IS_U85) == 0)
    channels = work.out_c[:, None]
    block = _SCALED_PIXELS * np.minimum(round_up(channels, _SCALED_GRANULE), _SCALED_DEPTH)
    read = np.floor(INTEGER_BYTES * np.minimum(channels, _SCALED_DEPTH) / _EDGE_RATE)
    issued = ((_EDGE_LATENCY + read) / block + _SCALED) / 4.0
    elements = work.out_h[:, None] * work.out_w[:, None] * stored(channels, work.target[:, None])
    tails = np.where(ends, np.ceil(elements * np.maximum(_SCALED, issued)), np.inf)
    squares = np.flatnonzero(work.kind == SQUARES)
    if len(squares):
        tails[squares] = scaled_squares(work)[squares]
    return np.where((work.far == BY_OUTPUT)[:, None], cycles / work.batch[:, None], tails)


def _coded(
    work: Work, operands: Operands, cost: dict[str, Float64], statistics: NDArray[np.float32]
) -> Float64:
    """Return the bytes of coded weights, float64[n, d]."""
    weights = np.where(operands.has_weight, operands.elements[operands.weight], 0.0)
    elements = cost["elements"]
    coded = coded_weights(work, weights, elements, cost["micro"], statistics)
    means = operands.is_type("MEAN")
    streams = used_streams(work.out_c)
    ones = elements * streams / STREAMS * work.mean_share[:, None]
    coded[means] = uniform_bytes(ones[means] / streams[means]) * streams[means]
    return coded


def _prefetch(
    subgraph: Subgraph,
    operands: Operands,
    work: Work,
    cost: dict[str, Float64],
    coded: Float64,
    refused: NDArray[np.bool_],
    room: Float64,
    after: Sequence[tuple[Int64, Float64]],
    ahead: Sequence[tuple[Int64, Float64]],
    staged: Staged,
) -> Prefetch:
    """Return what is copied ahead; the next operator's weights come during the last of what comes `after`.

    An operator's own weights come during what comes `ahead` of it.
    """
    busy = np.stack([work.kind != NOTHING, work.kind_u85 != NOTHING], axis=1) & ~refused
    begins = np.zeros(len(busy), dtype=np.bool_)
    begins[subgraph.spans[0]] = True
    tail = _tails(work, operands, cost["planned"])
    follows = np.zeros((len(tail), 1), dtype=np.bool_)
    for rows, costs in after:
        tail[rows], follows[rows] = costs[:, COSTS.index("planned")], True
    lead = staged.lead.copy()
    for rows, costs in ahead:
        lead[rows] = costs[:, COSTS.index("planned")] / _RIMS
    pieces = pieces_of(subgraph, operands, work)
    task = _task(
        work,
        cost,
        room,
        weights=coded,
        tail=tail,
        follows=follows,
        lead=lead,
        staged=staged.bytes,
        pieces=pieces,
    )
    fetch = prefetched(task, busy[:, IS_U85] & asked(), begins, refused[:, IS_U85])
    fetch = fetched_in_pieces(fetch, cost, coded, work)
    return replace(fetch, ahead=fetch.ahead + staged.bytes)


def _task(work: Work, cost: dict[str, Float64], room: Float64, **given: NDArray[Any]) -> Task:
    """Return the task of all operators, of which some fields are `given`; `room` is that of Spills."""
    names = ("cycles", "planned", "planned_direct", "readings", "enter", "leave", "input", *SAME)
    same: dict[str, NDArray[Any]] = {name: cost[name] for name in names}
    # A depthwise convolution reads all of its inputs for each slice of its channels.
    summed = np.stack([work.is_matrix, work.is_matrix_u85], axis=1).take(IS_U85, axis=1)
    sources = np.stack([work.source, work.source_u85], axis=1).take(IS_U85, axis=1)
    block = np.maximum(cost["depth"], 1.0)
    return Task(
        direct=cost["cycles_direct"],
        block=block,
        pass_depth=np.where(summed, block, np.inf),
        channels=work.out_c,
        granule=np.where(IS_U85, round_up(cost["micro"], SCALES_AT_ONCE), 1.0),
        size=work.in_h * work.in_w * work.in_c,
        movable=sources != EDGE,
        stripes=work.stripes.take(_STRIPED, axis=1),
        room=np.concatenate([room, np.full((len(room), 1), np.inf)], axis=1).take(_STRIPED, axis=1),
        **same,
        **given,
    )


def _as_it_was(work: Work) -> Work:
    """Return work on images that are doubled as they are: only its cycles look at every pixel twice."""
    doubled = (work.kind == POOLING) & (work.enlarged > 1)
    if not doubled.any():
        return work
    times = np.where(doubled, work.enlarged, 1.0)
    return replace(work, in_h=work.in_h / times, in_w=work.in_w / times, enlarged=work.enlarged / times)


def pieces_of(subgraph: Subgraph, operands: Operands, work: Work) -> Float64:
    """Return how many convolutions each operator becomes that wait for each other, float64[n]."""
    return np.where(in_phases(subgraph, operands), _PHASES, work.groups)
