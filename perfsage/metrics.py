"""What can be measured or predicted, and in which unit."""

from __future__ import annotations

from enum import StrEnum

from perfsage.errors import UnknownNameError


class Metric(StrEnum):
    """A quantity per inference (latency, energy) or per model (memory, storage).

    Which memory `peak_memory_bytes` counts differs by device: see `Device.metrics`.
    """

    LATENCY_MS = "latency_ms"
    ENERGY_MJ = "energy_mj"
    PEAK_MEMORY_BYTES = "peak_memory_bytes"
    STORAGE_BYTES = "storage_bytes"

    @property
    def unit(self) -> str:
        """The unit of every value of this metric: ms, mJ or bytes."""
        return {"latency_ms": "ms", "energy_mj": "mJ"}.get(self.value, "bytes")


def parse_metric(name: str) -> Metric:
    """Return the metric called `name`; UnknownNameError names the ones that exist."""
    try:
        return Metric(name)
    except ValueError:
        known = ", ".join(metric.value for metric in Metric)
        raise UnknownNameError(f"there is no metric {name!r}", hint=f"Known metrics: {known}.") from None
