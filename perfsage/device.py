"""What a device is: its name, its descriptors, and the metrics that it can give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perfsage.metrics import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A place where a network runs, or a tool that stands for one.

    `metrics` maps each metric that the device can give to its definition, such as
    `{Metric.PEAK_MEMORY_BYTES: "arena_total"}`; `unavailable` maps the others to the reason.
    `descriptors` are numbers that a predictor may learn from, with units in their names
    (`macs_per_cycle`, `clock_hz`, `sram_bytes_per_cycle`).
    """

    name: str
    kind: str
    """One of cpu, gpu, npu, mcu, phone, board, accelerator."""
    description: str
    metrics: Mapping[Metric, str]
    unavailable: Mapping[Metric, str] = field(default_factory=dict)
    descriptors: Mapping[str, float] = field(default_factory=dict)
    tool: str = ""
    tool_version: str = ""
    source: str = ""
    """For imported devices: where the measurements come from, with licence."""
