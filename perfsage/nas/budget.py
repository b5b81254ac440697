"""What a network may cost at most on a device."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric, parse_metric
from perfsage.prediction import Interval, Unavailable

_FORM = re.compile(r"\s*([^:\s]{1,200})\s*:\s*([a-z_]{1,40})\s*<=\s*([0-9.e+-]{1,30})\s*([A-Za-z]{0,3})\s*")
_UNITS = {
    Metric.LATENCY_MS: {"": 1.0, "ms": 1.0, "us": 1e-3, "s": 1e3},
    Metric.ENERGY_MJ: {"": 1.0, "mJ": 1.0, "uJ": 1e-3, "J": 1e3},
}
_BYTES = {"": 1.0, "B": 1.0, "KB": 1e3, "MB": 1e6, "KiB": 2.0**10, "MiB": 2.0**20}


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` (ms, mJ or bytes) of a metric on a device.

    A cautious budget holds for the upper end of the predicted interval, another one for the value itself.
    """

    device: str
    metric: Metric
    limit: float
    cautious: bool = False

    def excess(self, found: Interval | Unavailable) -> float:
        """Return by how much the budget is exceeded, relative to it: 0 and less is within.

        Infinite where the device cannot give the metric for this network.
        """
        if isinstance(found, Unavailable):
            return math.inf
        return (found.high if self.cautious else found.value) / self.limit - 1.0

    def __str__(self) -> str:
        return f"{self.device}:{self.metric.value}<={self.limit:g}{self.metric.unit.replace('bytes', 'B')}"


def parse_budget(text: str, *, cautious: bool = False) -> Budget:
    """Return the budget written as `DEVICE:METRIC<=LIMIT`, with or without a unit.

    >>> parse_budget("tflm:peak_memory_bytes<=256KiB").limit
    262144.0
    """
    found = _FORM.fullmatch(text)
    if found is None:
        hint = "Write DEVICE:METRIC<=LIMIT, such as ethos-u55-128:latency_ms<=10."
        raise InvalidInputError(f"{text!r} is no budget", hint=hint)
    device, metric = found[1], parse_metric(found[2])
    units = _UNITS.get(metric, _BYTES)
    try:
        limit = float(found[3]) * units[found[4]]
    except (KeyError, ValueError):
        hint = f"Units of {metric.value}: {', '.join(unit for unit in units if unit)}."
        raise InvalidInputError(f"{found[3]}{found[4]} is no limit", where=text, hint=hint) from None
    if not 0 < limit < math.inf:
        raise InvalidInputError("a limit is above zero", where=text)
    return Budget(device, metric, limit, cautious)
