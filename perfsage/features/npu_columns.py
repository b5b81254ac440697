"""What each Ethos-U accelerator takes for each operator, as columns: cycles and the bytes that it moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.coding import coded_bytes, coded_means
from perfsage.features.npu_constants import constant_bytes
from perfsage.features.npu_cycles import COSTS, npu_costs
from perfsage.features.npu_fetch import FETCHED
from perfsage.features.npu_geometry import GEOMETRIES, IS_U85
from perfsage.features.npu_lowering import work_of
from perfsage.features.npu_prefetch import Task, prefetched
from perfsage.features.npu_work import NOTHING, Float64, Work
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

COMMAND_CYCLES = 50.0
"""What an operator takes at least, so that none is free that an NPU has to do something for."""
_STREAMS = np.array([geometry.cores for geometry in GEOMETRIES], dtype=np.float64)
_NEAR_WEIGHTS, _FAR_WEIGHTS, _FAR_RATES, _FAR_LATENCY = np.array(
    [(g.near.weights, g.far.weights, g.far.rate, g.far.read_latency) for g in GEOMETRIES]
).T


def npu_columns(
    subgraph: Subgraph,
    operands: Operands,
    shapes: Float64,
    statistics: NDArray[np.float32],
    refused: NDArray[np.bool_],
    live: Float64,
) -> Float64:
    """Return float64[n, (2 + len(FETCHED)) * len(GEOMETRIES)], kind by kind; 0 for what is `refused`.

    Weights are read once from where constants are; where several blocks need them, they are kept and read
    from SRAM. Memories are shared, so what is read from one adds up.
    """
    work = work_of(subgraph, operands, shapes, refused, live)
    costs = npu_costs(work)
    cost = {name: costs[:, position] for position, name in enumerate(COSTS)}
    weights = np.where(operands.has_weight, operands.elements[operands.weight], 0.0)
    coded = coded_bytes(weights, cost["elements"], _STREAMS, statistics)
    means = operands.is_type("MEAN")
    coded[means] = coded_means(cost["elements"][means], shapes[means, 3], _STREAMS)
    again = np.where(cost["readings"] > 1, coded * cost["readings"], 0.0)
    once = coded * work.repeats[:, None]
    made = np.empty((len(coded), 2 + len(FETCHED), len(GEOMETRIES)))
    made[:, 0] = _cycles(cost, once + cost["scale"]) + COMMAND_CYCLES
    near = np.maximum(cost["near"] + again, cost["near_alone"])
    made[:, 1] = np.maximum(near, again * _NEAR_WEIGHTS)
    far = cost["far"] + cost["scale"] + once
    made[:, 2] = np.maximum(np.maximum(far, cost["far_alone"]), once * _FAR_WEIGHTS)
    constants = constant_bytes(subgraph, operands, work.beside, refused)
    made[:, 3], made[:, 4] = cost["scale"], coded + constants[:, IS_U85]
    np.copyto(made, 0.0, where=refused[:, None, IS_U85])
    made[:, 5] = _ahead(subgraph, work, cost, coded, refused)
    return made.reshape(len(coded), -1)


def _ahead(
    subgraph: Subgraph, work: Work, cost: dict[str, Float64], coded: Float64, refused: NDArray[np.bool_]
) -> Float64:
    """Return the bytes of weights that are in SRAM while each operator runs."""
    busy = np.stack([work.kind != NOTHING, work.kind_u85 != NOTHING], axis=1) & ~refused
    begins = np.zeros(len(busy), dtype=np.bool_)
    begins[subgraph.spans[0]] = True
    cycles, direct, block = cost["cycles"], cost["cycles_direct"], np.maximum(cost["depth"], 1.0)
    task = Task(coded, cycles, direct, cost["readings"], block, work.out_c)
    return prefetched(task, busy[:, IS_U85], begins)


def _cycles(cost: dict[str, Float64], constants: Float64) -> Float64:
    """Copy constants to SRAM where they are read again, or where waiting for the copy takes less time."""
    copied = np.maximum(cost["cycles"], _FAR_LATENCY + constants / _FAR_RATES)
    once = np.minimum(cost["cycles_direct"], copied)
    return np.where(cost["readings"] > 1, cost["cycles"], once)
