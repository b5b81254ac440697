"""Latencies of a known space as columns: one value an architecture and device."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset.records import Network
from dataset.sources.networks import known_rows
from dataset.sources.source import Conditions, Found, imported, number, wrong
from perfsage.device import Device
from perfsage.measurement import Measurement
from perfsage.metrics import Metric

Column = Sequence[float | None]
ANALYTIC = "analytic_model"
MEASURED = "whole_network"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDevice:
    """What is known of the device of a column."""

    kind: str
    description: str
    runtime: str
    batch: int = 1
    is_analytic: bool = False
    """Whether the values follow from a model of the hardware; nothing ran."""


def column_device(name: str, about: ColumnDevice, source: str) -> Device:
    """Return the device of a column."""
    definition = ANALYTIC if about.is_analytic else MEASURED
    unknown = "the source has latency only"
    return Device(
        name=name,
        kind=about.kind,
        description=about.description,
        metrics={Metric.LATENCY_MS: definition if about.batch == 1 else f"{definition}_of_a_batch"},
        unavailable={m: unknown for m in Metric if m is not Metric.LATENCY_MS},
        descriptors={"batch": float(about.batch)},
        tool=source,
        tool_version="",
    )


def column_conditions(about: ColumnDevice, values: Column) -> Conditions:
    """Return a run's conditions; values in whole milliseconds have the noise of that rounding."""
    conditions: dict[str, str | int | float | bool] = {"runtime": about.runtime, "batch": about.batch}
    known = [value for value in values if value is not None]
    if known and all(value == int(value) for value in known):
        conditions |= {
            "resolution_ms": 1.0,
            # A value rounded to a step deviates by step / sqrt(12), here relative to the median latency.
            "noise": round(1 / math.sqrt(12) / statistics.median(known), 6),
        }
    return conditions


def read_columns(
    space: str,
    texts: Sequence[str],
    columns: Mapping[str, tuple[ColumnDevice, Column]],
    path: Path,
    source: str,
) -> Found:
    """Return one row an architecture, with the latencies of all devices that measured it."""
    if not columns:
        raise wrong("there is no column of a known device", path, "Is this the right file?")
    for name, (_, values) in columns.items():
        if len(values) != len(texts):
            raise wrong(f"{name} has {len(values)} values for {len(texts)} architectures", path)
    devices = {name: column_device(name, about, source) for name, (about, _) in columns.items()}
    conditions = {name: column_conditions(about, values) for name, (about, values) in columns.items()}
    left_out: Counter[str] = Counter()

    def measurements(row: int, network: Network) -> tuple[Measurement, ...]:
        return tuple(
            imported(network, devices[name], Metric.LATENCY_MS, number(value, name, path), conditions[name])
            for name, (_, values) in columns.items()
            if (value := values[row]) is not None
        )

    rows = known_rows(space, texts, path, left_out, measurements)
    return Found(tuple(devices.values()), len(texts), rows, left_out)
