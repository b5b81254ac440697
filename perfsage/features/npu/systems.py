"""Accelerators as columns: rows for each operator on each of them, so that all are estimated at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.geometry import Geometry, Memory
from perfsage.features.npu.work import CROSSING_BITS, SPILL_BYTES, Flags, Float64

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MemoryRows:
    """What `Memory` says, float64[m] and bool[m]."""

    rate: Float64
    burst: Float64
    read_latency: Float64
    write_latency: Float64
    reading: Float64
    writing: Float64
    is_dram: Flags

    def take(self, rows: Int64) -> MemoryRows:
        """Return some of the rows."""
        return MemoryRows(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Systems:
    """What `Geometry` says of the accelerator of each row.

    float64[m], but `micro` float64[m, 3], the first microblock, `output_cycles` float64[m, kinds],
    `integer_cycles` float64[m, 4], `is_u65` bool[m], and `spill_bit` int64[m], the bit of its limit in
    SPILL_BYTES and that of CROSSING_BITS.
    """

    macs: Float64
    cores: Float64
    is_u65: Flags
    micro: Float64
    output_cycles: Float64
    table_cycles: Float64
    relu_cycles: Float64
    integer_cycles: Float64
    spill_bit: Int64
    near: MemoryRows
    far: MemoryRows
    edge: MemoryRows

    def take(self, rows: Int64) -> Systems:
        """Return some of the rows."""
        taken: dict[str, Any] = {}
        for field in fields(self):
            column = getattr(self, field.name)
            taken[field.name] = column.take(rows) if isinstance(column, MemoryRows) else column[rows]
        return Systems(**taken)


def systems_of(geometries: tuple[Geometry, ...], count: int) -> Systems:
    """Return `count` rows for each of `geometries`, one accelerator after the other."""
    return _each(geometries).take(np.repeat(np.arange(len(geometries)), count))


@lru_cache(maxsize=4)
def _each(geometries: tuple[Geometry, ...]) -> Systems:
    limited = [geometry.spill <= len(SPILL_BYTES) for geometry in geometries]
    return Systems(
        macs=_column([geometry.macs for geometry in geometries]),
        cores=_column([geometry.cores for geometry in geometries]),
        is_u65=np.array([geometry.generation == 65 for geometry in geometries]),
        micro=np.array([geometry.microblocks[0] for geometry in geometries], dtype=np.float64),
        output_cycles=np.array([geometry.output_cycles for geometry in geometries], dtype=np.float64),
        table_cycles=_column([geometry.table_cycles for geometry in geometries]),
        relu_cycles=_column([geometry.relu_cycles for geometry in geometries]),
        integer_cycles=np.array([geometry.integer_cycles for geometry in geometries], dtype=np.float64),
        spill_bit=np.array(
            [
                CROSSING_BITS[g.generation == 85] | (1 << (g.spill - 1) if has else 0)
                for g, has in zip(geometries, limited, strict=True)
            ]
        ),
        near=_memories([geometry.near for geometry in geometries]),
        far=_memories([geometry.far for geometry in geometries]),
        edge=_memories([geometry.edge for geometry in geometries]),
    )


def _column(values: Sequence[float]) -> Float64:
    return np.array(values, dtype=np.float64)


def _memories(memories: Sequence[Memory]) -> MemoryRows:
    columns: dict[str, Any] = {
        field.name: _column([getattr(memory, field.name) for memory in memories])
        for field in fields(MemoryRows)
    }
    return MemoryRows(**columns | {"is_dram": columns["is_dram"] > 0})
