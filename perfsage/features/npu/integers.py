"""What operators take that Vela lowers to arithmetic with integers of 32 bits."""

from __future__ import annotations

from dataclasses import dataclass

from perfsage.features.npu.work import Float64

TIMES = ("cycles", "cycles_direct", "planned", "planned_direct")
"""The columns of costs that are cycles: see `cycles.COSTS`, which begins with them."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Cycles, with what is waited for, and bytes inside and outside, float64[n]."""

    cycles: Float64
    near: Float64
    far: Float64
