"""The service from Python: `Client` and `AsyncClient`.

>>> from perfsage.client import Candidate, Client
>>> with Client("http://127.0.0.1:8000") as client:                                      # doctest: +SKIP
...     answers = client.predict([Candidate("kws", seed=n) for n in range(1000)], devices=["tflm"])
...     best = min(answers, key=lambda answer: answer["tflm"].metrics["peak_memory_bytes"].value)

Weights never leave the machine unless `send_weights` says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from perfsage.client_core import (
    RETRIED,
    Answer,
    Candidate,
    Core,
    Model,
    Progress,
    Task,
    Uploaded,
    wait_seconds,
)
from perfsage.client_wire import MEDIA_TYPE, Call, RefusedError, Reply
from perfsage.device import Device
from perfsage.errors import MissingExtraError, ServiceError
from perfsage.measurement import Measurement

try:
    import httpx
except ImportError as error:
    raise MissingExtraError("httpx", "client") from error

__all__ = ["Answer", "AsyncClient", "Candidate", "Client", "RefusedError", "Uploaded"]

Result = TypeVar("Result")


class _Base:
    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = 120.0,
        retries: int = 4,
        connections: int = 2,
        cached_models: int = 10_000,
        send_weights: bool = False,
    ) -> None:
        self._url, self._retries, self._connections = url, retries, connections
        self._core = Core(connections=connections, cached_models=cached_models, send_weights=send_weights)
        self._options: dict[str, Any] = {
            "base_url": url,
            "timeout": httpx.Timeout(timeout_s, connect=10.0),
            "limits": httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            "headers": {"Accept": MEDIA_TYPE} | ({"Authorization": f"Bearer {key}"} if key else {}),
        }

    def _request(self, client: Any, call: Call) -> Any:
        headers = dict(call.headers or {}) | ({"Content-Type": call.content_type} if call.content else {})
        return client.build_request(
            call.method, call.path, content=call.content or None, params=list(call.params), headers=headers
        )

    def _unreachable(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"the service cannot be reached: {error or type(error).__name__}",
            where=self._url,
            hint="Check the address, and that `perfsage serve` runs there.",
        )


class Client(_Base):
    """Asks a PerfSAGE service; use it as a context manager, from one thread or several.

    `key` is an API key. Calls that fail on the way, or that the service has no capacity for, are sent again
    up to `retries` times, with growing waits: every call may be repeated safely. `transport` replaces the
    network (httpx.BaseTransport), for tests. ServiceError says that the service cannot be reached,
    RefusedError that it refused.
    """

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None, **options: Any) -> None:
        super().__init__(url, **options)
        self._http = httpx.Client(transport=transport, **self._options)
        self._threads = ThreadPoolExecutor(self._connections, "perfsage-client")

    def predict(
        self,
        models: Sequence[Model],
        *,
        devices: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        operators: bool = False,
        progress: Progress | None = None,
    ) -> list[Answer]:
        """Predict all models, in as many requests as it takes; one answer a model, in their order.

        Models are paths, bytes, graphs, `Candidate` or `Uploaded`. A model that cannot be predicted has its
        error in its answer. `progress(done, total)` is called as answers come.
        """
        return self._run(self._core.predict(models, devices, metrics, operators, progress))

    def upload(self, model: Model) -> str:
        """Upload a model, without its weights, and return its sha256, by which `Uploaded` names it."""
        return self._run(self._core.upload(model))

    def devices(self) -> list[Device]:
        """List the devices that the predictor knows."""
        return self._run(self._core.devices())

    def info(self) -> dict[str, Any]:
        """Return the service's versions and limits."""
        return self._run(self._core.info())

    def add_measurements(self, measurements: Sequence[Measurement], *, devices: Sequence[Device] = ()) -> int:
        """Return measurements to the service, with devices that it does not know; all or none are added."""
        return self._run(self._core.add_measurements(measurements, devices))

    def measurements(self, *, device: str | None = None, metric: str | None = None) -> list[Measurement]:
        """Return all measurements of the service's dataset, or those of a device or metric."""
        return self._run(self._core.measurements(device, metric))

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, task: Task[Result]) -> Result:
        try:
            calls = next(task)
            while True:
                calls = task.send(self._send_all(calls))
        except StopIteration as done:
            result: Result = done.value
            return result

    def _send_all(self, calls: list[Call]) -> list[Reply]:
        if len(calls) == 1:
            return [self._send(calls[0])]
        jobs = [self._threads.submit(self._send, call) for call in calls]
        return [job.result() for job in jobs]

    def _send(self, call: Call) -> Reply:
        for attempt in range(self._retries + 1):
            reply: Reply | None = None
            try:
                found = self._http.send(self._request(self._http, call))
                reply = Reply(found.status_code, found.headers, found.content)
                if reply.status not in RETRIED or attempt == self._retries:
                    return reply
            except httpx.TransportError as error:
                if attempt == self._retries:
                    raise self._unreachable(error) from error
            time.sleep(wait_seconds(attempt, reply))
        raise AssertionError("the last attempt returns or raises")


class AsyncClient(_Base):
    """`Client` for asyncio: the same methods, awaited."""

    def __init__(
        self, url: str, *, transport: httpx.AsyncBaseTransport | None = None, **options: Any
    ) -> None:
        super().__init__(url, **options)
        self._http = httpx.AsyncClient(transport=transport, **self._options)

    async def predict(
        self,
        models: Sequence[Model],
        *,
        devices: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        operators: bool = False,
        progress: Progress | None = None,
    ) -> list[Answer]:
        """Predict all models; see `Client.predict`."""
        return await self._run(self._core.predict(models, devices, metrics, operators, progress))

    async def upload(self, model: Model) -> str:
        """Upload a model, without its weights, and return its sha256."""
        return await self._run(self._core.upload(model))

    async def devices(self) -> list[Device]:
        """List the devices that the predictor knows."""
        return await self._run(self._core.devices())

    async def info(self) -> dict[str, Any]:
        """Return the service's versions and limits."""
        return await self._run(self._core.info())

    async def add_measurements(
        self, measurements: Sequence[Measurement], *, devices: Sequence[Device] = ()
    ) -> int:
        """Return measurements to the service; see `Client.add_measurements`."""
        return await self._run(self._core.add_measurements(measurements, devices))

    async def measurements(
        self, *, device: str | None = None, metric: str | None = None
    ) -> list[Measurement]:
        """Return all measurements of the service's dataset, or those of a device or metric."""
        return await self._run(self._core.measurements(device, metric))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, task: Task[Result]) -> Result:
        try:
            calls = next(task)
            while True:
                calls = task.send(await asyncio.gather(*map(self._send, calls)))
        except StopIteration as done:
            result: Result = done.value
            return result

    async def _send(self, call: Call) -> Reply:
        for attempt in range(self._retries + 1):
            reply: Reply | None = None
            try:
                found = await self._http.send(self._request(self._http, call))
                reply = Reply(found.status_code, found.headers, found.content)
                if reply.status not in RETRIED or attempt == self._retries:
                    return reply
            except httpx.TransportError as error:
                if attempt == self._retries:
                    raise self._unreachable(error) from error
            await asyncio.sleep(wait_seconds(attempt, reply))
        raise AssertionError("the last attempt returns or raises")
