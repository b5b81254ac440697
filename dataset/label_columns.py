"""The columns of shipped labels: which there are, and how a value becomes a small number and back.

A label is stored as what the tool counted: bytes and cycles as integers, which are exact, and everything
else as float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset.tables import pa
from perfsage.errors import InvalidInputError
from perfsage.measurement import Mode, Statistic
from perfsage.metrics import Metric, parse_metric

KINDS = ("integer", "cycles", "float")
_INT32 = np.iinfo(np.int32)
_EXACT_INTEGER = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One quantity of one device; `kind` is integer, cycles (at `clock_hz`) or float."""

    device: str
    metric: Metric
    definition: str
    mode: Mode
    statistic: Statistic
    tool: str
    tool_version: str
    kind: str
    clock_hz: float | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the column of values; that of the reasons ends in `|unavailable`."""
        return f"{self.device}|{self.metric.value}|{self.definition}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, as it stands in the manifest."""
        return {**asdict(self), "conditions": dict(self.conditions)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any], where: str) -> Column:
        """Return what `to_dict` made; InvalidInputError names what is wrong."""
        try:
            column = cls(
                **{
                    **row,
                    "metric": parse_metric(row["metric"]),
                    "mode": Mode(row["mode"]),
                    "statistic": Statistic(row["statistic"]),
                }
            )
            json.dumps(dict(column.conditions), allow_nan=False)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInputError(f"a column of the manifest is wrong: {error}", where=where) from error
        if column.kind not in KINDS or (column.kind == "cycles" and not (column.clock_hz or 0) > 0):
            raise InvalidInputError(f"the column {column.name!r} is of no known kind", where=where)
        return column

    def encode(self, values: NDArray[np.float64]) -> pa.Array:
        """Return the values as they are stored; NaN is null."""
        known = np.isfinite(values)
        if self.kind == "float":
            return pa.array(values.astype(np.float32), pa.float32(), mask=~known)
        steps = np.rint(np.where(known, values, 0.0) * self._per_step()).astype(np.int64)
        narrow = steps.size == 0 or (steps.max() <= _INT32.max and steps.min() >= _INT32.min)
        return pa.array(steps, pa.int64(), mask=~known).cast(pa.int32() if narrow else pa.int64())

    def decode(self, stored: Any) -> NDArray[np.float64]:
        """Return the values, NaN where there is none; for cycles, the very number that the profiler gave."""
        steps: NDArray[np.float64] = stored.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return 1e3 * steps / self.clock_hz if self.clock_hz is not None else steps

    def _per_step(self) -> float:
        return self.clock_hz / 1e3 if self.clock_hz is not None else 1.0


def choose_kind(
    metric: Metric, values: NDArray[np.float64], clock_hz: float | None
) -> tuple[str, float | None]:
    """Return the exact kind that holds all `values`, or float."""
    known = values[np.isfinite(values)]
    if metric is Metric.LATENCY_MS and clock_hz:
        cycles = np.rint(known * clock_hz / 1e3)
        if np.array_equal(1e3 * cycles / clock_hz, known) and (cycles < _EXACT_INTEGER).all():
            return "cycles", clock_hz
    if np.array_equal(np.rint(known), known) and (known < _EXACT_INTEGER).all():
        return "integer", None
    return "float", None
