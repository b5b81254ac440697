"""The roofline that every prediction starts from: costs times rates, before the network corrects it.

An operator's cost on a device is first taken as a sum of terms (an overhead, MACs as counted and in blocks,
element-wise operations, outputs, activation bytes, coded weights, channels, and what a CPU makes of these),
each at a constant rate. The rates are fitted by non-negative least squares on relative errors; what they
cannot express is left to the network's bounded correction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from perfsage.features.arrays import (
    AHEAD_COLUMNS,
    AWAITED_COLUMNS,
    CODED_COLUMNS,
    CYCLE_COLUMNS,
    FAR_COLUMNS,
    GRAPH_COLUMNS,
    MAC_COLUMNS,
    NEAR_COLUMNS,
    PHYSICAL_COLUMNS,
    SRAM_COLUMNS,
)
from perfsage.features.cpu import CPU_COLUMNS
from perfsage.features.npu.geometry import GEOMETRIES, IS_U85, geometry_of
from perfsage.features.npu.memory import LIVE_NAMES

OVERHEAD = 1 / 150
"""Operators per cycle, if nothing else took time."""
COMMON_TERMS = (
    "operators",
    "macs",
    "block_macs",
    "elementwise_ops",
    "block_outputs",
    "activation_bytes",
    "coded_bytes",
    "channels",
)
NPU_COLUMNS = (
    *MAC_COLUMNS,
    *CYCLE_COLUMNS,
    *NEAR_COLUMNS,
    *FAR_COLUMNS,
    *AWAITED_COLUMNS,
    *CODED_COLUMNS,
    *SRAM_COLUMNS,
)
FITTED_LIVE = ("live_bytes", "heap_live_bytes")
"""What devices that are not described may hold at once: all that is alive, or what LiteRT does on a CPU."""
LIVE_COLUMNS = (*FITTED_LIVE, *LIVE_NAMES, *AHEAD_COLUMNS)
TERMS = (*COMMON_TERMS, *CPU_COLUMNS, "heap_bytes", *NPU_COLUMNS, *LIVE_COLUMNS)
"""`CPU_COLUMNS` are what devices that no formula describes start from, beside `COMMON_TERMS`; `NPU_COLUMNS`
what only a described Ethos-U accelerator does, `LIVE_COLUMNS` memories, of which the largest counts."""
KEPT_TERMS = ("operators", "heap_bytes")
"""What lies in memory for good beside that."""
KEPT_BYTES = 64.0
"""Bytes that an operator keeps where nothing else is known: little, which the network may correct."""
FITTED_TERMS = (*COMMON_TERMS, *CPU_COLUMNS)
"""Those whose rates are fitted, the first in TERMS."""
TABLE_BYTES = 0.01
"""What operators' constants take beside what is counted: next to nothing, which the network may correct."""
MINIMUM_SHARE = 1e-3
"""Every term keeps at least this share of a typical graph, so that no cost is free when extrapolating."""

_FITTED = np.array([name in FITTED_TERMS for name in TERMS])
_STORED_TERMS = np.array([name in ("operators", "coded_bytes", "channels") for name in TERMS])
NO_LIMIT_BYTES = 1e15
_SOURCES = [
    (position, PHYSICAL_COLUMNS.index(name))
    for position, name in enumerate(TERMS)
    if name in PHYSICAL_COLUMNS
]
_TRAFFIC = [PHYSICAL_COLUMNS.index(name) for name in ("read_bytes", "written_bytes")]


def term_columns(physical: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64[n, len(TERMS)] from PHYSICAL_COLUMNS."""
    values = np.asarray(physical, dtype=np.float64)
    columns = np.empty((len(values), len(TERMS)))
    columns[:, 0] = 1.0
    columns[:, TERMS.index("activation_bytes")] = values[:, _TRAFFIC].sum(axis=1)
    for position, source in _SOURCES:
        columns[:, position] = values[:, source]
    return columns


def common_term_columns(physical: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64[n, len(COMMON_TERMS)]: the terms that mean something on any device."""
    return term_columns(physical)[:, : len(COMMON_TERMS)]


def fit_rates(
    totals: NDArray[np.float64], values: NDArray[np.float64], *, stored: bool = False
) -> NDArray[np.float64]:
    """Return the rate of each term, float64[len(TERMS)], that explains `values` best in relative terms.

    `totals` float64[graphs, len(TERMS)] are term sums over each graph; `values` float64[graphs] are positive.
    With `stored`, only the terms that occupy storage (operators, weights, channels) take part. Every rate of
    a term that takes part is positive.
    """
    used = (_STORED_TERMS if stored else _FITTED) & (totals.sum(axis=0) > 0)
    fitted = fit_costs(totals[:, used], values)
    rates = np.zeros(len(TERMS))
    rates[used] = fitted
    return rates


def fit_costs(totals: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a unit of each column costs, by non-negative least squares on relative errors."""
    from scipy.optimize import nnls

    relative = totals / values[:, None]
    scale = np.maximum(relative.mean(axis=0), 1e-300)
    fitted, _ = nnls(relative / scale, np.ones(len(values)), maxiter=100 * len(TERMS))
    return np.asarray(np.maximum(fitted, MINIMUM_SHARE) / scale)


def unit_rates(descriptors: Mapping[str, float]) -> NDArray[np.float64] | None:
    """Return milliseconds per unit of each term at full utilisation, or None where that is not described.

    An accelerator whose cycles are estimated starts from these, from bytes and from weights.
    Needs `clock_hz` and `macs_per_cycle`. Bytes go at `sram_bytes_per_cycle` and weights at
    `flash_bytes_per_cycle` (or `dram_bytes_per_cycle`) where these are given, else at one per cycle.
    """
    clock, macs = descriptors.get("clock_hz", 0.0), descriptors.get("macs_per_cycle", 0.0)
    if clock <= 0 or macs <= 0:
        return None
    sram = descriptors.get("sram_bytes_per_cycle", 1.0)
    weights = descriptors.get("flash_bytes_per_cycle", descriptors.get("dram_bytes_per_cycle", 1.0))
    cycle_ms = 1e3 / clock
    rates = np.zeros(len(TERMS))
    geometry = geometry_of(descriptors)
    if geometry is None:
        per_cycle = np.array([OVERHEAD, 2 * macs, macs, macs / 100, macs / 100, sram, weights, 0.1])
        rates[: len(per_cycle)] = cycle_ms / np.maximum(per_cycle, 1e-6)
    else:
        rates[TERMS.index(CYCLE_COLUMNS[geometry])] = cycle_ms
        rates[TERMS.index(NEAR_COLUMNS[geometry])] = cycle_ms / max(sram, 1e-6)
        rates[TERMS.index(AWAITED_COLUMNS[geometry])] = cycle_ms / max(weights, 1e-6)
    return rates


def concurrent_terms(descriptors: Mapping[str, float]) -> list[int]:
    """Return the positions in TERMS of an accelerator's cycles and transfers, of which the slowest counts.

    Where no accelerator is described they are those of the first: their rates are 0 there.
    """
    place = geometry_of(descriptors) or 0
    return [TERMS.index(names[place]) for names in (CYCLE_COLUMNS, NEAR_COLUMNS, AWAITED_COLUMNS)]


def storage_rates(descriptors: Mapping[str, float]) -> NDArray[np.float64] | None:
    """Return the bytes of storage per unit of each term: coded weights, scales and tables of an accelerator.

    None where its weights' coding is not described.
    """
    geometry = geometry_of(descriptors)
    if geometry is None:
        return None
    rates = np.zeros(len(TERMS))
    rates[TERMS.index("operators")] = TABLE_BYTES
    rates[TERMS.index(CODED_COLUMNS[geometry])] = 1.0
    return rates


def energy_columns(descriptors: Mapping[str, float]) -> dict[str, int] | None:
    """Return the terms that cost an accelerator energy, by what each is: MACs, and bytes of each memory.

    None where its memories are not described. What a unit costs is fitted, alike for all accelerators.
    """
    geometry = geometry_of(descriptors)
    if geometry is None:
        return None
    outside = "dram" if "dram_bytes_per_cycle" in descriptors else "flash"
    macs = MAC_COLUMNS[IS_U85[geometry]]
    places = {"macs": macs, "sram": SRAM_COLUMNS[geometry], outside: FAR_COLUMNS[geometry]}
    return {name: TERMS.index(column) for name, column in places.items()}


def memory_rates(descriptors: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the bytes of memory per unit of each term: what is alive, in SRAM where there is one."""
    geometry = geometry_of(descriptors)
    rates = np.zeros(len(TERMS))
    if geometry is None:
        rates[TERMS.index("live_bytes")] = 1.0
    else:
        inner = GEOMETRIES[geometry].far.is_dram
        rates[TERMS.index(LIVE_NAMES[2 * IS_U85[geometry] + inner])] = 1.0
        rates[TERMS.index(AHEAD_COLUMNS[geometry])] = 1.0
    return rates


def fit_memory(
    live: NDArray[np.float64], totals: NDArray[np.float64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the bytes of memory per unit of each term that explain `values` float64[graphs] best.

    `live` float64[graphs, len(FITTED_LIVE)] are the largest of each, of which one is chosen, and `totals` as
    for `fit_rates`: what a runtime keeps for good adds up over a graph.
    """
    kept = [TERMS.index(name) for name in KEPT_TERMS]
    best, least = np.zeros(len(TERMS)), np.inf
    for name, most in zip(FITTED_LIVE, live.T, strict=True):
        columns = np.column_stack([most, totals[:, kept]])
        fitted = fit_costs(columns, values)
        error = np.abs(columns @ fitted / values - 1.0).mean()
        if error < least:
            best, least = np.zeros(len(TERMS)), error
            best[[TERMS.index(name), *kept]] = fitted
    return best


def memory_limit_bytes(descriptors: Mapping[str, float]) -> float:
    """Return what a device's memory holds, NO_LIMIT_BYTES where it is not described."""
    return min(descriptors.get("arena_cache_bytes", NO_LIMIT_BYTES), NO_LIMIT_BYTES)


def memory_candidates(totals: NDArray[np.floating]) -> Mapping[str, NDArray[np.float64]]:
    """Return the graph totals that some device may define as its memory or storage; 0 where unknown."""
    values = np.asarray(totals, dtype=np.float64)
    names = [name for name in GRAPH_COLUMNS if name.endswith("_bytes")]
    return {name: values[:, GRAPH_COLUMNS.index(name)] for name in names}
