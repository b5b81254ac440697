"""A collection on the workers of a dask scheduler; results land in this process's database.

A device is a resource of that name on every worker that has it. Tasks carry seeds, and workers build the
networks; a task whose worker dies is given to another one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from api.workflows.building import Key
from api.workflows.cluster_task import describe_devices, measure_networks
from api.workflows.collect import Collection, Missing
from api.workflows.lanes import Skipped
from api.workflows.sink import Sink
from api.workflows.wire import device_from_plain, result_from_plain
from dataset.records import Network
from perfsage.device import Device
from perfsage.errors import (
    InvalidInputError,
    MissingExtraError,
    StableDeviceError,
    TransientDeviceError,
    UnknownNameError,
)
from profilers.registry import describe, shares_pool

try:
    import distributed
except ImportError as error:
    raise MissingExtraError("distributed", "cluster") from error

CONNECT_TIMEOUT_S = 10.0
WAIT_FOR_WORKERS_S = 60.0
CHECK_WORKERS_S = 2.0
POLL_S = 0.02
TASK_NETWORKS = 12
MOST_LOSSES = 3
"""A worker may die with the results of a task that it has finished; the task is done again so often."""
TASKS_AHEAD = 2
"""Tasks that wait for each thread of the cluster: enough to keep it busy, few enough to stop soon."""


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that the same workers offer, measured by one task, so that networks are built once for all."""

    devices: tuple[str, ...]
    workers: tuple[str, ...]


def collect_on_cluster(request: Collection, missing: Missing, sink: Sink) -> None:
    """Measure everything that is missing on the workers of `request.scheduler`.

    InvalidInputError where no scheduler answers, UnknownNameError where no worker offers a device,
    StableDeviceError at the end for devices that failed for good.
    """
    assert request.scheduler is not None
    with closing(_connect(request.scheduler)) as client:
        groups = _groups(client, missing.devices())
        for device in _descriptions(client, groups):
            sink.add_device(device)
        _Submission(client, request, missing, sink, groups).run()


def _connect(address: str) -> Any:
    try:
        return distributed.Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InvalidInputError(
            f"no scheduler answers: {type(error).__name__}",
            where=address,
            hint="Start one with: dask scheduler --port 8786, and name it as tcp://HOST:8786.",
        ) from error


def _groups(client: Any, devices: list[str]) -> list[Group]:
    """Group the devices by who offers them; devices that measure time stay alone."""
    for device in devices:
        describe(device)  # UnknownNameError for a name that means nothing anywhere
    offers = _offers(client)
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for device in devices:
        offering = tuple(sorted(address for address, offered in offers.items() if device in offered))
        if not offering:
            raise UnknownNameError(
                f"none of the scheduler's {len(offers)} workers offers the device {device!r}",
                where=client.scheduler.address,
                hint=f'Start one with: dask worker {client.scheduler.address} --resources "{device}=1"',
            )
        found.setdefault(("" if shares_pool(device) else device, offering), []).append(device)
    return [Group(tuple(names), offering) for (_, offering), names in found.items()]


def _descriptions(client: Any, groups: list[Group]) -> Iterator[Device]:
    """Yield the devices; InvalidInputError where one is not the same on all of its workers."""
    for group in groups:
        answers = {
            worker: client.submit(describe_devices, group.devices, workers=[worker], pure=False).result()
            for worker in group.workers
        }
        if len(set(answers.values())) > 1:
            raise InvalidInputError(
                f"the workers do not agree what {', '.join(group.devices)} is",
                where=", ".join(group.workers),
                hint="Install the same versions everywhere, and offer host-cpu on machines of one kind only.",
            )
        yield from map(device_from_plain, json.loads(answers[group.workers[0]]))


@dataclass(frozen=True, slots=True)
class _Task:
    """Networks to be measured on devices of one group."""

    keys: tuple[Key, ...]
    devices: tuple[str, ...]
    losses: int = 0
    """How often its results were lost with the worker that held them."""

    @property
    def pairs(self) -> int:
        """How many results it gives."""
        return len(self.keys) * len(self.devices)


class _Submission:
    """Keeps the cluster busy with a bounded number of tasks, and stores what they give."""

    def __init__(
        self, client: Any, request: Collection, missing: Missing, sink: Sink, groups: Sequence[Group]
    ) -> None:
        self._client = client
        self._plan = request.plan
        self._sink = sink
        self._tasks = _tasks(missing, groups)
        self._ahead = TASKS_AHEAD * max(1, sum(client.nthreads().values()))
        self._running: dict[Any, _Task] = {}
        self._duplicates: set[Key] = set()
        self._errors: dict[str, str] = {}

    def run(self) -> None:
        """Submit, gather, store; what runs is cancelled when this process is interrupted."""
        finished = distributed.as_completed(loop=self._client.loop)
        try:
            while True:
                for task in islice(self._tasks, self._ahead - len(self._running)):
                    finished.add(self._submit(task))
                if not self._running:
                    break
                self._wait(finished)
                future = next(finished)
                task = self._running.pop(future)
                if future.status == "lost" and task.losses < MOST_LOSSES:
                    finished.add(self._submit(replace(task, losses=task.losses + 1)))
                else:
                    self._store(future, task)
        finally:
            self._sink.commit()
            self._client.cancel(list(self._running))
        if self._errors:
            device, reason = next(iter(self._errors.items()))
            raise StableDeviceError(f"a device of the cluster failed: {reason}", where=device)

    def _submit(self, task: _Task) -> Any:
        future = self._client.submit(
            measure_networks,
            task.keys,
            task.devices,
            self._plan,
            resources=dict.fromkeys(task.devices, 1),
            pure=False,
        )
        self._running[future] = task
        return future

    def _wait(self, finished: Any) -> None:
        """Wait for a task, committing meanwhile; TransientDeviceError when no worker is left to do it."""
        alone_since = time.monotonic()
        checked = alone_since
        while not finished.has_ready():
            self._sink.tick()
            time.sleep(POLL_S)
            if time.monotonic() - checked >= CHECK_WORKERS_S:
                checked = time.monotonic()
                if lost := self._unserved():
                    if checked - alone_since > WAIT_FOR_WORKERS_S:
                        raise _nobody_left(self._client, lost)
                else:
                    alone_since = checked

    def _unserved(self) -> list[str]:
        """Return the devices that tasks wait for and no worker offers."""
        offers = _offers(self._client) if self._client.status == "running" else {}
        wanted = {device for task in self._running.values() for device in task.devices}
        return sorted(device for device in wanted if not any(device in one for one in offers.values()))

    def _store(self, future: Any, task: _Task) -> None:
        if future.status != "finished":
            return self._failed(future, task)
        answer = json.loads(future.result())
        for device, reason in answer["errors"].items():
            self._errors.setdefault(device, reason)
        for entry in answer["networks"]:
            self._store_network(entry, task)
        self._sink.tick()

    def _store_network(self, entry: dict[str, Any], task: _Task) -> None:
        if "not_built" in entry:
            reason = f"{entry['key'][0]}: {entry['not_built']}"
            return self._sink.skip(Skipped(len(task.devices), failure=reason))
        network = Network(**entry["network"])
        if self._sink.is_duplicate(network):
            key = tuple(entry["key"])
            self._sink.skip(Skipped(len(task.devices), duplicate=key not in self._duplicates))
            self._duplicates.add(key)
            return
        for values in entry["results"]:
            self._sink.add(result_from_plain(network, values))

    def _failed(self, future: Any, task: _Task) -> None:
        """Leave out networks whose task has killed several workers; anything else ends the collection."""
        error = future.exception() if future.status == "error" else None
        if not isinstance(error, distributed.scheduler.KilledWorker):
            raise TransientDeviceError(
                f"a task of the cluster failed: {error or future.status}",
                where=self._client.scheduler.address,
                hint="What was measured is stored: run the same command again to go on.",
            ) from error
        where = f"{task.keys[0]} and {len(task.keys) - 1} more"
        self._sink.skip(
            Skipped(task.pairs, failure=f"workers died of {', '.join(task.devices)} with {where}")
        )


def _tasks(missing: Missing, groups: Sequence[Group]) -> Iterator[_Task]:
    """Yield all work, cut into tasks whose networks miss the same devices of a group."""
    waiting: dict[tuple[str, ...], list[Key]] = {}
    for key in missing.networks():
        wanted = missing.devices(key)
        for group in groups:
            devices = tuple(device for device in group.devices if device in wanted)
            if not devices:
                continue
            keys = waiting.setdefault(devices, [])
            keys.append(key)
            if len(keys) >= TASK_NETWORKS:
                yield _Task(tuple(waiting.pop(devices)), devices)
    yield from (_Task(tuple(keys), devices) for devices, keys in waiting.items())


def _offers(client: Any) -> dict[str, Mapping[str, float]]:
    """Return what each worker offers, by its address."""
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return {
        address: {name: amount for name, amount in worker["resources"].items() if amount >= 1}
        for address, worker in workers.items()
    }


def _nobody_left(client: Any, devices: Sequence[str]) -> TransientDeviceError:
    return TransientDeviceError(
        f"no worker has offered {', '.join(devices)} for {WAIT_FOR_WORKERS_S:g} s",
        where=client.scheduler.address,
        hint="What was measured is stored: start workers, and run the same command again to go on.",
    )
