"""What an NPU's compiler puts before or after an operator, as work of its own that adds to the operator's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.cycles import COSTS
from perfsage.features.npu.fetch import AWAITED, CYCLES, FAR, NEAR, SRAM
from perfsage.features.npu.geometry import GEOMETRIES, OUTPUT_KINDS
from perfsage.features.npu.work import POOLING, Float64, Work

Int64 = NDArray[np.int64]
_NEAR, _FAR = np.array([(g.near.rate, g.far.rate) for g in GEOMETRIES]).T


def moving(
    work: Work, into: Float64, out: Float64, ends: Mapping[str, Int64], *, kind: int = POOLING
) -> Work:
    """Return work that moves images `into` float64[k, 3] to images `out`, each h w c, for k rows of `work`.

    `ends` are columns of Work such as `source` and `target`; on U85 it is a pooling of one element.
    """
    made = work.plain(len(work)) | dict(ends)
    made["kind"], made["kind_u85"] = (np.full_like(work.kind, each) for each in (kind, POOLING))
    made["output"] = np.full_like(work.output, OUTPUT_KINDS.index("other"))
    for place, axis in enumerate("hwc"):
        made[f"in_{axis}"], made[f"out_{axis}"] = into[:, place], out[:, place]
    return Work(**made)


def add_costs(made: Float64, rows: Int64, costs: Float64) -> None:
    """Add such work to NPUs' columns, float64[n, columns, d]; `costs` are those of `npu_costs` for `rows`."""
    column = {name: costs[:, place] for place, name in enumerate(COSTS)}
    near = np.maximum(column["near"], column["near_alone"])
    far = np.maximum(column["far"], column["far_alone"])
    # One waits for the other, whatever each of them takes longest for.
    before = np.maximum(made[rows, CYCLES], np.maximum(made[rows, NEAR] / _NEAR, made[rows, AWAITED] / _FAR))
    after = np.maximum(column["cycles"], np.maximum(near / _NEAR, far / _FAR))
    made[rows, CYCLES] = np.where(after > 0, before + after, made[rows, CYCLES])
    for place, each in ((NEAR, near), (FAR, column["far"]), (AWAITED, far), (SRAM, column["near"])):
        made[rows, place] += each
