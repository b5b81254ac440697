"""What a measurement set is, and the protocol of those who read one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dataset.records import Network
from perfsage.device import Device
from perfsage.errors import InvalidInputError
from perfsage.measurement import Measurement, Mode, Statistic
from perfsage.metrics import Metric

Conditions = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A public set of measurements; `licence` is None where its owner states none."""

    name: str
    title: str
    url: str
    licence: str | None
    files: tuple[str, ...]
    """Paths within the original repository, or what else can be read."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user adds: networks that the source does not contain, and the licence of a source without."""

    models: Mapping[str, Path] = field(default_factory=dict)
    licence: str | None = None


@dataclass(slots=True)
class Found:
    """What an importer read: rows come one network at a time, so that progress can be shown.

    `total` is the number of networks to come. `left_out` counts, by reason, what is not imported; it is
    complete once `rows` is exhausted.
    """

    devices: tuple[Device, ...]
    total: int
    rows: Iterator[tuple[Network, tuple[Measurement, ...]]]
    left_out: Counter[str] = field(default_factory=Counter)


class Importer(Protocol):
    """Reads one source, from the original repository's files or from a table made of them."""

    source: Source

    def read(self, path: Path, options: Options) -> Found:
        """Return what is in `path`; InvalidInputError names the file and what of it is wrong."""
        ...


def imported(
    network: Network,
    device: Device,
    metric: Metric,
    value: float | None,
    conditions: Conditions,
    *,
    statistic: Statistic = Statistic.MEAN,
    definition: str | None = None,
    reason: str = "the source has no value",
) -> Measurement:
    """Return a measurement that somebody else made, or the reason why there is none.

    The definition is the device's own when left out.
    """
    return Measurement(
        model_id=network.model_id,
        graph_id=network.graph_id,
        device=device.name,
        metric=metric,
        definition=definition or device.metrics[metric],
        mode=Mode.IMPORTED,
        statistic=statistic,
        tool=device.tool,
        tool_version=device.tool_version,
        value=value,
        unavailable=reason if value is None else None,
        conditions=dict(conditions),
    )


def slug(text: str) -> str:
    """Return a name for a device: lower case, words joined by hyphens."""
    return "-".join(re.findall(r"[a-z0-9.]+", text.lower()))


def wrong(what: str, path: Path, hint: str = "Nothing was imported.") -> InvalidInputError:
    """Return the error of a file that is not as it should be."""
    return InvalidInputError(what, where=str(path), hint=hint)


def number(value: object, what: str, path: Path) -> float:
    """Return a positive, finite number; InvalidInputError names what is not one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise wrong(f"{what} is {value!r}, which is no positive number", path)
