"""Sample networks from spaces, measure them on devices, store everything; stop and go on at any moment.

This module says what is collected and what is still missing. `collect_here` measures on this machine,
`cluster` on the workers of a dask scheduler; both hand results to one `Sink`, which commits them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from api.words import SCHEMA_VERSION
from api.workflows.building import Key
from dataset.builder import Dtype
from perfsage.errors import InvalidInputError
from profilers.profiler import Plan

if TYPE_CHECKING:
    from dataset.store import Store

DTYPES: tuple[str, ...] = get_args(Dtype)
TURN_NETWORKS = 50
"""Spaces and dtypes take turns by so many networks, so that a stopped collection has some of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What to collect: of each space and dtype `count` networks from seed `seed` on, on every device."""

    spaces: tuple[str, ...]
    count: int
    seed: int
    devices: tuple[str, ...]
    dtypes: tuple[str, ...] = ("int8",)
    workers: int | None = None
    """Worker processes that build and compile; None takes one for each CPU core."""
    plan: Plan = field(default_factory=Plan)
    scheduler: str | None = None
    """A dask scheduler's address, tcp://HOST:PORT; None measures on this machine."""
    rotating: tuple[str, ...] = ()
    """Those of `devices` that take turns: a network is measured on one of them, by its seed."""

    @property
    def seeds(self) -> range:
        """The networks' numbers in each space."""
        return range(self.seed, self.seed + self.count)

    @property
    def sets(self) -> list[tuple[str, str]]:
        """Every pair of space and dtype."""
        return [(space, dtype) for space in self.spaces for dtype in self.dtypes]

    def wanted(self, device: str) -> NDArray[np.bool_]:
        """Return which of `seeds` this device measures, bool[count]."""
        if device not in self.rotating:
            return np.ones(self.count, bool)
        turn = np.arange(self.seed, self.seed + self.count) % len(self.rotating)
        return np.asarray(turn == self.rotating.index(device))


@dataclass(slots=True)
class Progress:
    """Where a collection stands; counts are of (network, device) pairs unless they say otherwise."""

    total: int
    stored_before: int
    measured: int = 0
    duplicate_networks: int = 0
    skipped: int = 0
    """Pairs left out because their network is a duplicate or could not be built."""
    failures: Counter[str] = field(default_factory=Counter)
    """How often a tool failed or refused, by device and reason."""
    measured_by_device: Counter[str] = field(default_factory=Counter)
    started_s: float = field(default_factory=time.monotonic)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "total": self.total,
            "stored_before": self.stored_before,
            "measured": self.measured,
            "measured_by_device": dict(sorted(self.measured_by_device.items())),
            "duplicate_networks": self.duplicate_networks,
            "skipped": self.skipped,
            "failures": dict(self.failures.most_common()),
            "elapsed_s": self.elapsed_s,
            "measured_per_s": self.per_second,
        }

    @property
    def done(self) -> int:
        """Pairs that need no more work."""
        return self.stored_before + self.measured + self.skipped

    @property
    def elapsed_s(self) -> float:
        """Seconds since this run began."""
        return time.monotonic() - self.started_s

    @property
    def per_second(self) -> float:
        """Pairs a second since this run began."""
        return (self.measured + self.skipped) / max(self.elapsed_s, 1e-9)


OnProgress = Callable[[Progress], None]


class Missing:
    """Which networks each device has not measured: one bit for each, whatever the size of the collection."""

    def __init__(self, request: Collection, store: Store) -> None:
        self._request = request
        self._bits: dict[tuple[str, str, str], NDArray[np.bool_]] = {}
        for space, dtype in request.sets:
            for device in request.devices:
                self._bits[space, dtype, device] = self._read(store, space, dtype, device)

    def __len__(self) -> int:
        """Return the number of (network, device) pairs."""
        return int(sum(bits.sum() for bits in self._bits.values()))

    def devices(self, key: Key | None = None) -> list[str]:
        """Return the devices that miss this network, or any network."""
        if key is not None:
            space, seed, dtype = key
            place = seed - self._request.seed
            return [name for name in self._request.devices if self._bits[space, dtype, name][place]]
        found = {device for (_, _, device), bits in self._bits.items() if bits.any()}
        return [name for name in self._request.devices if name in found]

    def networks(self) -> Iterator[Key]:
        """Yield the networks that any device misses; spaces and dtypes take turns."""
        waiting = [self._keys_of(space, dtype) for space, dtype in self._request.sets]
        while waiting:
            turns = [(keys, list(islice(keys, TURN_NETWORKS))) for keys in waiting]
            for _, turn in turns:
                yield from turn
            waiting = [keys for keys, turn in turns if turn]

    def _keys_of(self, space: str, dtype: str) -> Iterator[Key]:
        any_device = np.logical_or.reduce([self._bits[space, dtype, name] for name in self._request.devices])
        return ((space, self._request.seed + int(place), dtype) for place in np.flatnonzero(any_device))

    def _read(self, store: Store, space: str, dtype: str, device: str) -> NDArray[np.bool_]:
        bits = self._request.wanted(device)
        done = store.done(device, space=space, dtype=dtype)
        places = np.array([seed for _, seed, _ in done], np.int64) - self._request.seed
        bits[places[(places >= 0) & (places < self._request.count)]] = False
        return bits


def collect(
    request: Collection, store: Store, *, on_progress: OnProgress = lambda progress: None
) -> Progress:
    """Measure what the store does not have yet, and return how it went.

    A device that fails for good ends its own part; the others go on, and its DeviceError is raised at the
    end. Raises UnknownNameError for spaces and devices before anything is started.
    """
    from api.workflows.sink import Sink

    check(request)
    missing = Missing(request, store)
    total = len(request.sets) * sum(int(request.wanted(device).sum()) for device in request.devices)
    progress = Progress(total=total, stored_before=total - len(missing))
    on_progress(progress)
    if len(missing):
        sink = Sink(store, progress, on_progress)
        if request.scheduler is not None:
            from api.workflows.cluster import collect_on_cluster

            collect_on_cluster(request, missing, sink)
        else:
            from api.workflows.collect_here import collect_here

            collect_here(request, missing, sink)
    return progress


def check(request: Collection) -> None:
    """Raise UnknownNameError or InvalidInputError where a request cannot be carried out."""
    from dataset.spaces import get_space
    from profilers.registry import describe

    for space in request.spaces:
        get_space(space)
    for device in request.devices:
        if ":" not in device:  # attached ones are asked when they are opened
            describe(device)
    counts: Mapping[str, tuple[str, ...]] = {
        "--space": request.spaces, "--device": request.devices, "--dtype": request.dtypes
    }  # fmt: skip
    for option, values in counts.items():
        if not values or len(set(values)) < len(values):
            what = "names something twice" if values else "names nothing"
            raise InvalidInputError(f"{option} {what}", where=", ".join(values) or None, hint=_HINTS[option])
    if unknown := sorted(set(request.dtypes) - set(DTYPES)):
        raise InvalidInputError(
            f"{unknown[0]!r} is no type to build", where="--dtype", hint=_HINTS["--dtype"]
        )
    if request.count < 1 or request.seed < 0:
        given = f"--count {request.count} --seed {request.seed}"
        raise InvalidInputError("--count begins at 1, --seed at 0", where=given)


_HINTS = {
    "--space": "See `perfsage collect --help`.",
    "--device": "See `perfsage devices`.",
    "--dtype": f"Use {' or '.join(DTYPES)}.",
}
