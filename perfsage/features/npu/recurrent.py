"""An LSTM on an NPU: its compiler unrolls it over time, so that every step reads all weights again.

A step is, for each gate, a fully connected layer of the state and one of the step's input, and arithmetic on
16 bits (Vela 5, `lstm.cpp`). One step of each LSTM is estimated and counted as often as it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cycles import COSTS, npu_costs
from perfsage.features.npu.fetch import AHEAD, AWAITED, CODED, CYCLES, FAR, NEAR, SRAM
from perfsage.features.npu.formats import BRICK, BRICKS, EDGE
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85, OUTPUT_KINDS
from perfsage.features.npu.integers import TIMES
from perfsage.features.npu.once import first_of_graph
from perfsage.features.npu.prefetch import Prefetch, prefetched
from perfsage.features.npu.recurrent_memory import GATES, LSTM, Lstms, lstms_of
from perfsage.features.npu.stored import coded_weights, scale_bytes
from perfsage.features.npu.tasks import SAME, Task
from perfsage.features.npu.work import CONVOLUTION, Float64, Work, round_up
from perfsage.features.operands import Operands
from perfsage.features.statistics import weight_columns
from perfsage.graph import Subgraph

Int64 = NDArray[np.int64]

_GATE_ROWS = 3
"""A step as rows: for each gate two layers, of the state and of the input, and arithmetic."""
_ROWS = _GATE_ROWS * GATES
_ARITHMETIC = np.array(
    [
        (436.0, 32.16, 25.79, 145.0, 6.13),
        (438.0, 35.47, 14.15, 150.0, 8.37),
        (431.0, 31.72, 7.33, 144.0, 8.04),
        (430.0, 29.91, 6.05, 144.0, 7.94),
        (423.0, 29.04, 4.68, 140.0, 7.61),
        (2389.0, 11.02, 9.67, 1595.0, 5.26),
        (2215.0, 21.06, 1.58, 42.0, 6.88),
        (2427.0, 19.21, 3.82, 137.0, 6.66),
        (3428.0, 7.43, 10.44, 1523.0, 6.26),
        (3531.0, 3.30, 11.13, 1516.0, 5.34),
        (3529.0, 1.71, 11.25, 1514.0, 4.53),
    ]
)
"""Cycles of all but the layers on each of GEOMETRIES: of a step, for each unit and for each unit in bricks;
of copying the first state, and for each of its units. Fitted to Vela on 11 sizes (8 to 256), within 8 %."""
_CLAMP_CYCLES, _CLAMP_UNIT_CYCLES = 70.0, 2.6
"""What is done just before the next gate's layers, while their weights are on their way."""
_TABLE_BYTES = 2 * 2048.0
"""U85 has tables of 16 bits for both functions."""
_U85 = np.array(IS_U85, dtype=np.bool_)
_MOVED_BYTES = np.where(_U85, 57.5, 80.0)
"""Bytes of SRAM that a step's arithmetic reads and writes for each unit, on each of GEOMETRIES, about."""
_NEAR, _FAR = np.array([(g.near.rate, g.far.rate) for g in GEOMETRIES]).T
_WRITTEN_INSIDE = np.array([g.edge.write_latency - g.near.write_latency for g in GEOMETRIES])
"""Cycles that a step saves where its result does not leave the graph."""
_PLANNED_OUTSIDE = np.array(
    [
        (g.edge.read_latency - g.near.read_latency)
        + (g.edge.write_latency - g.near.write_latency if g.generation == 85 else 0.0)
        for g in GEOMETRIES
    ]
)
"""Copies of weights are planned while what is read, and written on U85, is still taken to lie in DRAM."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Two steps of each of k LSTMs as 2 * _ROWS rows: their `cost` by COSTS, `coded` weights and `fetch`.

    `arithmetic` float64[k, d] are the cycles of all but the layers in a step, `first` those before the first
    one, and `stored` bytes of flash beside the scales of one layer.
    """

    lstms: Lstms
    cost: dict[str, Float64]
    coded: Float64
    fetch: Prefetch
    arithmetic: Float64
    first: Float64
    stored: Float64


def recurrent_steps(
    subgraph: Subgraph, operands: Operands, work: Work, shapes: Float64, statistics: NDArray[np.float32]
) -> Steps | None:
    """Return steps of each LSTM, None where there is none; arguments as in `columns`."""
    if not operands.is_type(LSTM).any():
        return None
    lstms = lstms_of(subgraph, operands, shapes)
    layers = _layers(work, lstms)
    made = npu_costs(layers)
    read = bool((statistics[lstms.rows, 0] > 0).any())
    coded = _coded(layers, made, weight_columns(subgraph, lstms.weights, read))
    scales = scale_bytes(layers, made[:, COSTS.index("micro")])
    cells, bricks = lstms.together * lstms.units, lstms.together * round_up(lstms.units, BRICK)
    step, unit, brick, copy, copied = _ARITHMETIC.T
    arithmetic = step + unit * cells[:, None] + brick * bricks[:, None] - _inside(work, lstms)
    first = lstms.sequences[:, None] * (copy + copied * lstms.units[:, None])
    clamp = _CLAMP_CYCLES + _CLAMP_UNIT_CYCLES * cells
    cost, spread = _two_steps(made, coded, clamp)
    fetch = _fetch(cost, spread, np.repeat(lstms.units, 2 * _ROWS))
    return Steps(lstms, cost, spread, fetch, arithmetic, first, _stored(subgraph, lstms, coded, scales))


def add_steps(made: Float64, steps: Steps, moved: Float64) -> None:
    """Replace the rows of LSTMs in NPUs' columns, float64[n, columns, d]; `moved` are those of `steps`."""
    lstms, times = steps.lstms, steps.lstms.times[:, None]
    second = moved.reshape(len(lstms.rows), 2, GATES, _GATE_ROWS, *moved.shape[1:])[:, 1]
    layers = second[:, :, :2].reshape(len(lstms.rows), 2 * GATES, *moved.shape[1:])
    waited = np.maximum(layers[:, :, NEAR] / _NEAR, layers[:, :, AWAITED] / _FAR)
    cycles = np.maximum(layers[:, :, CYCLES], waited).sum(axis=1) + steps.arithmetic
    made[lstms.rows, CYCLES] = cycles * times + steps.first
    for column in (NEAR, FAR, AWAITED, SRAM):
        made[lstms.rows, column] = layers[:, :, column].sum(axis=1) * times
    moved_inside = _MOVED_BYTES * (lstms.together * lstms.units)[:, None] * times
    made[lstms.rows[:, None], (NEAR, SRAM)] += moved_inside[:, None]
    # One of both tables is always there, and the other one has to come.
    made[lstms.rows, FAR] += np.where(_U85, _TABLE_BYTES / 2.0, 0.0) * times
    made[lstms.rows, CODED] = steps.stored
    made[lstms.rows, AHEAD] = steps.fetch.ahead.reshape(len(lstms.rows), 2 * _ROWS, -1).max(axis=1)


def _layers(work: Work, lstms: Lstms) -> Work:
    """Return the layer of the state and the layer of the input of each LSTM, one after the other."""
    count = 2 * len(lstms.rows)
    none = np.zeros(count, dtype=np.int64)
    # The state lies where the application has it.
    ends = {
        name: np.stack([np.full(count // 2, EDGE), getattr(work, name)[lstms.rows]], axis=1).ravel()
        for name in ("source", "source_u85")
    }
    ends |= dict.fromkeys(("target", "target_u85"), none + BRICKS)
    plain: dict[str, Any] = {
        "kind": none + CONVOLUTION,
        "kind_u85": none + CONVOLUTION,
        "output": none + OUTPUT_KINDS.index("other"),
        # U85 adds both layers on the way out: what they make stays planned for where images are.
        "chained": np.ones(count),
        "out_w": np.repeat(lstms.together, 2),
        "in_w": np.repeat(lstms.together, 2),
        "out_c": np.repeat(lstms.units, 2),
        "in_c": np.stack([lstms.units, lstms.features], axis=1).ravel(),
        **ends,
    }
    return Work(**{**work.plain(count), **plain})


def _coded(layers: Work, made: Float64, statistics: NDArray[np.float32]) -> Float64:
    """Return the bytes of the weights of all layers of all gates, float64[k * 2 * GATES, d].

    `made` float64[2 * k, COSTS, d] are their costs, and `statistics` float32[k * 2 * GATES, 10].
    """
    layer = np.arange(len(layers)).reshape(-1, 1, 2).repeat(GATES, axis=1).ravel()
    each = layers.take(layer)
    elements, micro = (made[layer, COSTS.index(name)] for name in ("elements", "micro"))
    return coded_weights(each, each.in_c * each.out_c, elements, micro, statistics)


def _two_steps(made: Float64, coded: Float64, clamp: Float64) -> tuple[dict[str, Float64], Float64]:
    """Return the costs and the coded weights of two steps, row by row."""
    count = len(clamp)
    table = np.zeros((count, 2, GATES, _GATE_ROWS, *made.shape[1:]))
    table[:, :, :, :2] = made.reshape(count, 1, 1, 2, *made.shape[1:])
    for name in TIMES:
        table[:, :, :, 2, COSTS.index(name)] = clamp[:, None, None, None] + _PLANNED_OUTSIDE
    spread = np.zeros((count, 2, GATES, _GATE_ROWS, coded.shape[1]))
    spread[:, :, :, :2] = coded.reshape(count, 1, GATES, 2, -1)
    table = table.reshape(-1, *made.shape[1:])
    return {name: table[:, i] for i, name in enumerate(COSTS)}, spread.reshape(-1, coded.shape[1])


def _fetch(cost: dict[str, Float64], coded: Float64, channels: Float64) -> Prefetch:
    """Return what is copied ahead in two steps of each LSTM."""
    begins = np.zeros(len(coded), dtype=np.bool_)
    begins[:: 2 * _ROWS] = True
    block = np.maximum(cost["depth"], 1.0)
    same = ("cycles", "planned", "planned_direct", "readings", "enter", "leave", "input", *SAME)
    task = Task(
        weights=coded,
        direct=cost["cycles_direct"],
        block=block,
        pass_depth=block,
        channels=channels,
        size=channels,
        granule=np.ones(coded.shape),
        movable=np.zeros(coded.shape, dtype=np.bool_),
        tail=np.full(coded.shape, np.inf),
        follows=np.zeros((len(coded), 1), dtype=np.bool_),
        pieces=np.ones(len(coded)),
        lead=np.full(coded.shape, np.inf),
        staged=np.zeros(coded.shape),
        stripes=np.zeros(coded.shape),
        room=np.full(coded.shape, np.inf),
        **{name: cost[name] for name in same},
    )
    busy = np.ones(coded.shape, dtype=np.bool_)
    return prefetched(task, busy, begins, ~busy)


def _inside(work: Work, lstms: Lstms) -> Float64:
    """Return the cycles that a step saves because its result stays inside, float64[k, d]."""
    leaves = [target[lstms.rows, None] == EDGE for target in (work.target, work.target_u85)]
    return np.where(np.where(_U85, leaves[1], leaves[0]), 0.0, _WRITTEN_INSIDE)


def _stored(subgraph: Subgraph, lstms: Lstms, coded: Float64, scales: Float64) -> Float64:
    """Return the bytes of flash of each LSTM, float64[k, d]; tables are there once for a graph.

    `scales` float64[2 * k, d] are those of a gate's layers.
    """
    weights = coded.reshape(len(lstms.rows), 2 * GATES, -1).sum(axis=1)
    weights += GATES * scales.reshape(len(lstms.rows), 2, -1).sum(axis=1)
    first = first_of_graph(subgraph, lstms.rows)
    return np.asarray(weights + np.where(_U85 & first[:, None], _TABLE_BYTES, 0.0))
