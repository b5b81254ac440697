"""What bounds each network on each device: its arithmetic, its memory, or something else.

Every operator i needs at least macs_i / compute and bytes_i / memory seconds (Williams et al., "Roofline",
2009); the larger one bounds it. Their sum is the least time of the network; what the measured latency is
above it is overhead: dispatch, kernels below the roof, operators that fall back. NPUs state their rates; for
other devices the roofs are the highest rates that any network of the study reached, so that theirs are
bounds from below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from api.study.rows import Row, StudyRows
from perfsage.device import Device
from perfsage.graph import Graph, read_graph
from perfsage.graph.costs import operator_costs
from perfsage.metrics import Metric

if TYPE_CHECKING:
    from dataset.store import Store

COMPUTE, MEMORY, OVERHEAD, FALLBACK = "compute", "memory", "overhead", "fallback"
_FALLBACK_SHARE = 0.05
_FALLBACK_LEAST = 4
"""A few operators at the ends of a network (reshape, softmax) are no bottleneck."""


@dataclass(frozen=True, slots=True)
class Work:
    """A network's operators: MACs, and bytes of weights and of activations, of each in file order."""

    types: tuple[str, ...]
    macs: np.ndarray
    weight_bytes: np.ndarray
    activation_bytes: np.ndarray

    @property
    def bytes(self) -> float:
        """All bytes of the network."""
        return float(self.weight_bytes.sum() + self.activation_bytes.sum())

    @property
    def intensity(self) -> float:
        """MACs for each byte of the whole network."""
        return float(self.macs.sum() / max(self.bytes, 1))


@dataclass(frozen=True, slots=True)
class Roof:
    """A device's highest rates for a type; `stated` where its maker gives them."""

    device: str
    dtype: str
    macs_per_s: float
    bytes_per_s: float
    weight_bytes_per_s: float
    stated: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the time of a network goes, as shares of its latency that add up to 1."""

    row: Row
    roof: Roof
    intensity: float
    macs_per_s: float
    compute: float
    memory: float
    overhead: float
    fallback_operators: int
    operators: int

    @property
    def bottleneck(self) -> str:
        """The largest share; overhead is called fallback where many operators are not supported."""
        shares = {COMPUTE: self.compute, MEMORY: self.memory, OVERHEAD: self.overhead}
        largest = max(shares, key=lambda name: shares[name])
        falls_back = self.fallback_operators >= max(_FALLBACK_LEAST, _FALLBACK_SHARE * self.operators)
        return FALLBACK if largest == OVERHEAD and falls_back else largest


def read_work(study: StudyRows, store: Store) -> dict[int, Work]:
    """Return the work of every network whose graph the database has, by the network's number."""
    numbers = sorted({row.number for row in study.rows if row.macs is not None})
    return {number: work_of(read_graph(store.rebuild(number))) for number in numbers}


def work_of(graph: Graph) -> Work:
    """Count a graph's first subgraph; operators of unknown cost count nothing."""
    subgraph = graph.subgraphs[0]
    costs = operator_costs(subgraph)
    moved = np.maximum(costs.read_bytes, 0) + np.maximum(costs.written_bytes, 0)
    types = tuple(operator.type for operator in subgraph.operators)
    weights = np.maximum(costs.weight_bytes, 0).astype(float)
    return Work(types, np.maximum(costs.macs, 0).astype(float), weights, np.maximum(moved - weights, 0))


def bounds(study: StudyRows, work: Mapping[int, Work]) -> list[Bound]:
    """Return the bound of every network that was run in the basic setting and has a graph."""
    rows = [row for row in study.of(Metric.LATENCY_MS) if row.number in work and row.value]
    roofs = _roofs(study, rows, work)
    return [
        _bound(row, roofs[row.device, row.dtype], work[row.number])
        for row in rows
        if (row.device, row.dtype) in roofs
    ]


def _roofs(study: StudyRows, rows: list[Row], work: Mapping[int, Work]) -> dict[tuple[str, str], Roof]:
    devices = {device.name: device for device in study.devices}
    found: dict[tuple[str, str], Roof] = {}
    for device, dtype in dict.fromkeys((row.device, row.dtype) for row in rows):
        mine = [row for row in rows if (row.device, row.dtype) == (device, dtype)]
        stated = _stated(devices[device], dtype)
        found[device, dtype] = stated or _reached(device, dtype, mine, work)
    return found


def _stated(device: Device, dtype: str) -> Roof | None:
    """Return the rates that an NPU's configuration gives: its MAC array, SRAM, and where weights are."""
    d = device.descriptors
    if not {"macs_per_cycle", "clock_hz", "sram_bytes_per_cycle"} <= d.keys():
        return None
    clock = d["clock_hz"]
    fast = d["sram_bytes_per_cycle"]
    slow = (
        fast
        if d.get("constants_in_sram")
        else d.get("flash_bytes_per_cycle", d.get("dram_bytes_per_cycle", fast))
    )
    return Roof(device.name, dtype, d["macs_per_cycle"] * clock, fast * clock, slow * clock, True)


def _reached(device: str, dtype: str, rows: list[Row], work: Mapping[int, Work]) -> Roof:
    seconds = [1e-3 * (row.value or 1.0) for row in rows]
    macs = max(work[row.number].macs.sum() / s for row, s in zip(rows, seconds, strict=True))
    moved = max(work[row.number].bytes / s for row, s in zip(rows, seconds, strict=True))
    return Roof(device, dtype, float(macs), float(moved), float(moved), False)


def _bound(row: Row, roof: Roof, work: Work) -> Bound:
    assert row.value is not None
    seconds = 1e-3 * row.value
    compute_s = work.macs / roof.macs_per_s
    memory_s = work.weight_bytes / roof.weight_bytes_per_s + work.activation_bytes / roof.bytes_per_s
    by_compute = float(compute_s[compute_s >= memory_s].sum())
    by_memory = float(memory_s[memory_s > compute_s].sum())
    # Compilers fuse operators and compress weights: the bytes counted can then exceed those moved.
    scale = min(1.0, seconds / max(by_compute + by_memory, 1e-30)) / seconds
    shares = by_compute * scale, by_memory * scale
    return Bound(
        row, roof, work.intensity, float(work.macs.sum()) / seconds, *shares, max(0.0, 1 - sum(shares)),
        _fallback(row, work), len(work.types),
    )  # fmt: skip


def _fallback(row: Row, work: Work) -> int:
    """Return how many operators the accelerator or delegate left to the built-in kernels."""
    left, delegated = (row.conditions.get(name) for name in ("cpu_operators", "delegated_operators"))
    if isinstance(left, int):
        return left
    is_delegate = row.conditions.get("delegate") not in (None, "none")
    return len(work.types) - delegated if is_delegate and isinstance(delegated, int) else 0


@dataclass(frozen=True, slots=True)
class OperatorRate:
    """What all operators of a type reached together on a device."""

    device: str
    dtype: str
    type: str
    operators: int
    intensity: float
    macs_per_s: float


def operator_rates(study: StudyRows, store: Store, work: Mapping[int, Work]) -> list[OperatorRate]:
    """Return the rates by operator type, where operators were measured one by one; only types with MACs."""
    found: list[OperatorRate] = []
    for device in study.devices:
        rows = {row.number: row for row in study.of(Metric.LATENCY_MS) if row.device == device.name}
        frame = store.operator_frame(device=device.name)
        cells = {f'"study_cell":"{_cell(row)}"': row for row in rows.values()}
        sums: dict[tuple[str, str], list[float]] = {}
        basic = frame["conditions"].astype(str).str.extract(r'("study_cell":"[^"]*")')[0]
        for number, cell, index, value in zip(
            frame["network"], basic, frame["index"], frame["value"], strict=True
        ):
            row = cells.get(cell)
            if row is None or number not in work or not value > 0 or index >= len(work[number].types):
                continue
            mine = work[number]
            moved = mine.weight_bytes[index] + mine.activation_bytes[index]
            total = sums.setdefault((row.dtype, mine.types[index]), [0.0, 0.0, 0.0, 0.0])
            for place, amount in enumerate((mine.macs[index], moved, 1e-3 * value, 1.0)):
                total[place] += float(amount)
        found += [
            OperatorRate(device.name, dtype, kind, int(count), macs / max(moved, 1.0), macs / seconds)
            for (dtype, kind), (macs, moved, seconds, count) in sums.items()
            if macs > 0
        ]
    return found


def _cell(row: Row) -> str:
    return f"{row.network}|{row.dtype}|{row.batch}|{row.threads}|{row.delegate}"
