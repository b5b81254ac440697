"""The roofline that every prediction starts from: costs times rates, before the network corrects it.

An operator's cost on a device is first taken as a sum of terms (an overhead, MACs as counted and in blocks,
element-wise operations, outputs, activation bytes, coded weights, channels), each at a constant rate. The
rates are fitted by non-negative least squares on relative errors; what they cannot express is left to the
network's bounded correction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from perfsage.features.arrays import (
    CYCLE_COLUMNS,
    EDGE_COLUMNS,
    GRAPH_COLUMNS,
    NEAR_COLUMNS,
    PHYSICAL_COLUMNS,
    SCALE_COLUMNS,
)
from perfsage.features.npu_geometry import IS_U85, geometry_of

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
NPU_COLUMNS = (*CYCLE_COLUMNS, *NEAR_COLUMNS, *EDGE_COLUMNS, *SCALE_COLUMNS)
TERMS = (*COMMON_TERMS, "streamed_bytes", *NPU_COLUMNS)
"""The last ones are what only the latency of a described Ethos-U accelerator starts from."""
DRAM_SCALES = 0.41
"""Bytes of scales and biases a cycle out of DRAM on U85: two bursts of 128 in its latency of 500, at 80 %."""
MINIMUM_SHARE = 1e-3
"""Every term keeps at least this share of a typical graph, so that no cost is free when extrapolating."""

_COMMON = np.array([name in COMMON_TERMS for name in TERMS])
_STORED_TERMS = np.array([name in ("operators", "coded_bytes", "channels") for name in TERMS])
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
    from scipy.optimize import nnls

    used = (_STORED_TERMS if stored else _COMMON) & (totals.sum(axis=0) > 0)
    relative = totals[:, used] / values[:, None]
    scale = relative.mean(axis=0)
    fitted, _ = nnls(relative / scale, np.ones(len(values)), maxiter=100 * len(TERMS))
    rates = np.zeros(len(TERMS))
    rates[used] = np.maximum(fitted, MINIMUM_SHARE) / scale
    return rates


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
        rates[TERMS.index("operators")] = cycle_ms / OVERHEAD
        outside = sram if descriptors.get("arena_in_sram", 1.0) else weights
        slow = IS_U85[geometry] and "dram_bytes_per_cycle" in descriptors
        scales = DRAM_SCALES if slow else weights
        rates[TERMS.index("streamed_bytes")] = cycle_ms / max(weights, 1e-6)
        rates[TERMS.index(CYCLE_COLUMNS[geometry])] = cycle_ms
        rates[TERMS.index(NEAR_COLUMNS[geometry])] = cycle_ms / max(sram, 1e-6)
        rates[TERMS.index(EDGE_COLUMNS[geometry])] = cycle_ms / max(outside, 1e-6)
        rates[TERMS.index(SCALE_COLUMNS[geometry])] = cycle_ms / max(scales, 1e-6)
    return rates


def memory_candidates(totals: NDArray[np.floating]) -> Mapping[str, NDArray[np.float64]]:
    """Return the graph totals that some device may define as its memory or storage; 0 where unknown."""
    values = np.asarray(totals, dtype=np.float64)
    names = [name for name in GRAPH_COLUMNS if name.endswith("_bytes")]
    return {name: values[:, GRAPH_COLUMNS.index(name)] for name in names}
