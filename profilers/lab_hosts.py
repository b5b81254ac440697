"""Phones on several hosts: each host joins a dask.distributed cluster and offers its phones as resources.

    dask scheduler --host 10.0.0.1 --no-dashboard            on one machine
    python -m profilers.lab_hosts tcp://10.0.0.1:8786 bench-1   on each host, with its own lab.toml
    PERFSAGE_SCHEDULER=tcp://10.0.0.1:8786 perfsage collect ... --device adb:pixel6

A phone is a resource of which its host has one, so it measures one model at a time. Members of a cluster run
what others send them: keep it in a network of your own, or use dask's TLS.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from perfsage.device import Device
from perfsage.errors import InvalidInputError, MissingExtraError, StableDeviceError, TransientDeviceError
from perfsage.graph import read_graph
from perfsage.measurement import Measurement
from profilers.lab import Lab, find_lab
from profilers.profiler import Model, Outcome, Plan, Profiler

CONNECT_TIMEOUT_S = 10.0

_opened: dict[str, Profiler] = {}
_opening = threading.Lock()


class HostedPhone:
    """A Profiler whose phone is attached to another host of the cluster."""

    def __init__(self, scheduler: str, name: str) -> None:
        self._scheduler = scheduler
        self._name = name
        self._client: Any = None

    def describe(self) -> Device:
        """Return the device as its own host knows it."""
        device: Device = self._submit(_describe).result()
        return device

    def profile(self, models: Sequence[Model], plan: Plan) -> Iterator[Outcome]:
        """Measure the models on the phone's host, one at a time, in order.

        A host that dies is waited for by the cluster, which gives the model to it again when it is back;
        a model that took its host down four times ends with TransientDeviceError.
        """
        for model in models:
            measurements, failure, notes = self._result(self._submit(_measure, model.data, plan))
            yield Outcome(model, measurements, failure, notes)

    def close(self) -> None:
        """Leave the cluster. The host keeps its phone until it leaves itself."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _submit(self, action: Any, *arguments: object) -> Any:
        client = self._connected()
        offered = {r for worker in client.scheduler_info(-1)["workers"].values() for r in worker["resources"]}
        if self._resource not in offered:  # a resource that nobody has would be waited for, for ever
            raise TransientDeviceError(
                f"no host of the cluster offers {self._resource}",
                where=self._scheduler,
                hint=f"Start `python -m profilers.lab_hosts` on its host. Offered: {sorted(offered)}.",
            )
        return client.submit(action, self._name, *arguments, resources={self._resource: 1}, pure=False)

    @property
    def _resource(self) -> str:
        return f"adb:{self._name}"

    def _result(self, future: Any) -> tuple[tuple[Measurement, ...], str | None, tuple[str, ...]]:
        from distributed import KilledWorker

        try:
            result: tuple[tuple[Measurement, ...], str | None, tuple[str, ...]] = future.result()
        except KilledWorker as error:
            raise TransientDeviceError(
                f"the host of {self._resource} died again and again: {error}"
            ) from error
        return result

    def _connected(self) -> Any:
        if self._client is None:
            try:
                from distributed import Client
            except ImportError:
                raise MissingExtraError("distributed", "cluster") from None
            try:
                self._client = Client(self._scheduler, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
            except (OSError, TimeoutError) as error:
                raise TransientDeviceError(
                    f"the cluster cannot be reached: {error}",
                    where=self._scheduler,
                    hint="Start its scheduler.",
                ) from error
        return self._client


def _describe(name: str) -> Device:
    return _phone(name).describe()


def _measure(
    name: str, data: bytes, plan: Plan
) -> tuple[tuple[Measurement, ...], str | None, tuple[str, ...]]:
    (outcome,) = _phone(name).profile([Model(data, read_graph(data))], plan)
    return outcome.measurements, outcome.failure, outcome.notes


def _phone(name: str) -> Profiler:
    """Return the phone's profiler, opened once for this host."""
    with _opening:
        if name not in _opened:
            _opened[name] = find_lab().open_attached(name)
        return _opened[name]


def phones_of(lab: Lab, host: str) -> list[str]:
    """Return the phones that are attached to a host; InvalidInputError where there are none."""
    found = [name for name, phone in lab.phones.items() if phone.host == host]
    if not found:
        hosts = sorted({phone.host for phone in lab.phones.values() if phone.host})
        raise InvalidInputError(
            f"no phone of the inventory has the host {host!r}",
            where=str(lab.path),
            hint=f"Hosts in it: {hosts}.",
        )
    return found


async def join(scheduler: str, host: str) -> None:
    """Offer this host's phones to the cluster until it ends."""
    from distributed import Worker

    phones = phones_of(find_lab(), host)
    resources = {f"adb:{name}": 1.0 for name in phones}
    async with Worker(
        scheduler, nthreads=len(phones), name=host, resources=resources, dashboard=False
    ) as worker:
        print(f"offering {', '.join(resources)}", flush=True)
        await worker.finished()


def main() -> None:
    """Join a cluster: `python -m profilers.lab_hosts SCHEDULER HOST`."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m profilers.lab_hosts SCHEDULER HOST")
    # Run as a module, this file is __main__; the functions that the cluster sends are found by its name.
    import profilers.lab_hosts as this

    try:
        asyncio.run(this.join(sys.argv[1], sys.argv[2]))
    except (StableDeviceError, InvalidInputError) as error:
        raise SystemExit(str(error)) from None
    finally:
        for profiler in this._opened.values():
            profiler.close()


if __name__ == "__main__":
    main()
