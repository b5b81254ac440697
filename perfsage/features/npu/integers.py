"""What arithmetic with integers of 32 bits takes: what Vela lowers other operators to.

Cycles of an element by accelerator, from the tables `s_EthosU55PerfInfo` and alike of Vela 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfsage.features.npu.geometry import Geometry
from perfsage.features.npu.work import Float64

INTEGER_BYTES = 4.0
TIMES = ("cycles", "cycles_direct", "planned", "planned_direct")
"""The columns of costs that are cycles: see `cycles.COSTS`, which begins with them."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Cycles, with what is waited for, and bytes inside and outside, float64[n]."""

    cycles: Float64
    near: Float64
    far: Float64


@dataclass(frozen=True, slots=True)
class IntegerCycles:
    """Cycles of an element: two integers in (`both`), two bytes multiplied to an integer (`product`).

    `chained` is what U85 takes where the result is an integer that the next operator takes over.
    """

    both: float
    product: float
    chained: float


_CYCLES = {
    "u55_32": IntegerCycles(3.0, 3.0, 0.0),
    "u55_64": IntegerCycles(1.5, 1.5, 0.0),
    "u55_128": IntegerCycles(1.25, 0.75, 0.0),
    "u55_256": IntegerCycles(1.125, 0.5, 0.0),
    "u65_256": IntegerCycles(1.125, 0.5, 0.0),
    "u65_512": IntegerCycles(0.5625, 0.25, 0.0),
    "u85_128": IntegerCycles(1.0, 0.5, 1.0),
    "u85_256": IntegerCycles(0.5, 0.25, 0.5),
    "u85_512": IntegerCycles(0.25, 0.25, 0.25),
    "u85_1024": IntegerCycles(0.25, 0.25, 0.125),
    "u85_2048": IntegerCycles(0.125, 0.125, 0.0625),
}


def integer_cycles(geometry: Geometry) -> IntegerCycles:
    """Return the cycles of one accelerator."""
    return _CYCLES[geometry.name]
