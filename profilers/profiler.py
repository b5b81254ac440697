"""The one protocol that every device and tool implements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from perfsage.device import Device
from perfsage.measurement import Measurement

if TYPE_CHECKING:
    from perfsage.graph import Graph


@dataclass(frozen=True, slots=True)
class Model:
    """A model to measure: the bytes of its .tflite file and the graph read from them."""

    data: bytes
    graph: Graph
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure. A profiler ignores what does not apply to it, and records what it did as conditions."""

    visits: int = 5
    """Latency is the minimum over this many visits, spread more than a second apart where possible."""
    visit_ms: float = 20.0
    threads: int = 1
    per_operator: bool = False
    timeout_s: float = 120.0
    """Wall-clock limit for one model in one worker."""
    memory_limit_bytes: int = 4 << 30
    options: dict[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one model: measurements (some may be unavailable), or the failure that ended it.

    `failure` is set when the tool itself crashed, hung or refused: then `measurements` holds one
    unavailable measurement for each metric of the device, with the same reason.
    """

    model: Model
    measurements: tuple[Measurement, ...]
    failure: str | None = None
    notes: tuple[str, ...] = ()
    """Remarks for people, such as operators that the NPU leaves to the CPU."""


@runtime_checkable
class Profiler(Protocol):
    """A device that can be described and that measures models.

    `profilers.testing.ProfilerConformance` states the behaviour that every implementation must show.
    """

    def describe(self) -> Device:
        """Return the device, without measuring anything."""
        ...

    def profile(self, models: Sequence[Model], plan: Plan) -> Iterator[Outcome]:
        """Measure every model, yielding one outcome a model, in order, as each is finished.

        A model that crashes, hangs or is not supported gives an outcome with its reason; only a device
        that is gone raises (TransientDeviceError or StableDeviceError).
        """
        ...

    def close(self) -> None:
        """Release workers, connections and files. Calling it twice is harmless."""
        ...
