"""What the service holds while it runs: its predictor, its database, and its threads."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Coroutine, Generator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request

from api.rest.admission import Admission
from api.rest.errors import Refusal
from api.rest.lru import Lru
from api.rest.metrics import Metrics
from api.rest.settings import Settings
from api.rest.shelf import Shelf
from perfsage.errors import PerfsageError, UnknownNameError

if TYPE_CHECKING:
    from api.rest.engine import Engine
    from dataset.store import Store
    from perfsage.predictor import Predictor

T = TypeVar("T")

PREDICTOR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ADAPTED_ENGINES = 4
"""Adapted predictors that stay in memory."""

NOT_READY_RETRY = {"Retry-After": "1"}
COMPUTE_THREADS = 2
"""Inspections and plans that run at the same time, beside predictions."""


class State:
    """The engine once its predictor is loaded, and the limits on what runs at the same time."""

    def __init__(self, settings: Settings, predictor: Predictor | None = None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.failure: str | None = None
        self.admission = Admission(settings, self.metrics)
        self._engine: Engine | None = None
        self._adapted: Lru[Engine] = Lru(ADAPTED_ENGINES, lambda _: 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._temporary: TemporaryDirectory[str] | None = None
        self._prediction_limiter = CapacityLimiter(settings.prediction_threads)
        self._unlimited = CapacityLimiter(math.inf)
        self._compute_limiter = CapacityLimiter(COMPUTE_THREADS)
        self._database_limiter = CapacityLimiter(2)
        if predictor is not None:
            self.use(predictor)

    async def load(self) -> None:
        """Load the predictor off the event loop; a failure is kept as the reason for not being ready."""
        if self._engine is not None:
            return
        try:
            self.use(await to_thread.run_sync(_load, self.settings.predictor))
        except PerfsageError as error:
            self.failure = str(error)

    def use(self, predictor: Predictor) -> None:
        """Answer with `predictor` from now on; requests that run finish with the one they began with."""
        from api.rest.engine import Engine

        self._engine = Engine(predictor, self.settings, self._look_up)

    def _look_up(self, sha256: str) -> bytes | None:
        return self.shelf.get(sha256)

    @property
    def engine(self) -> Engine:
        """What answers; Refusal 503 while there is no predictor."""
        if self._engine is None:
            reason = self.failure or "The predictor is being loaded."
            raise Refusal(
                503, reason, slug="not-ready", hint="GET /readyz says when.", headers=NOT_READY_RETRY
            )
        return self._engine

    @property
    def is_ready(self) -> bool:
        """Whether there is a predictor."""
        return self._engine is not None

    @property
    def predictor(self) -> Predictor:
        """The predictor; Refusal 503 while there is none."""
        return self.engine.predictor

    @cached_property
    def store_or_none(self) -> Store | None:
        """The database, created where it does not exist yet; None when the settings name none."""
        if self.settings.database is None:
            return None
        from dataset.store import Store

        return Store.open(self.settings.database)

    @property
    def store(self) -> Store:
        """The database; Refusal 404 when the settings name none."""
        if self.store_or_none is None:
            hint = "Start it with PERFSAGE_DATABASE=dataset.db, or a postgresql:// URL."
            raise Refusal(404, "The service runs without a database.", slug="no-database", hint=hint)
        return self.store_or_none

    @cached_property
    def shelf(self) -> Shelf:
        """The uploaded models."""
        return Shelf(self.settings.upload_bytes, self.store_or_none)

    def engine_named(self, name: str | None) -> Engine:
        """Return the engine of a predictor: the active one, or one that was adapted; UnknownNameError."""
        active = self.engine
        info = active.predictor.info
        if name is None or name in ("active", info.name, info.version):
            return active
        if (known := self._adapted.get(name)) is not None:
            return known
        folder = self.adaptations / name
        if not PREDICTOR_NAME.fullmatch(name) or not (folder / "manifest.json").is_file():
            hint = "GET /v1/predictors lists them."
            raise UnknownNameError(f"there is no predictor {name!r}", where="predictor", hint=hint)
        from api.rest.engine import Engine

        engine = Engine(_load(str(folder)), self.settings, self._look_up)
        self._adapted.put(name, engine)
        return engine

    @cached_property
    def adaptations(self) -> Path:
        """The folder of adapted predictors."""
        if self.settings.adaptations is None:
            self._temporary = TemporaryDirectory(prefix="perfsage-adaptations-")
            return Path(self._temporary.name)
        folder = Path(self.settings.adaptations)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def one_adaptation(self) -> asyncio.Lock:
        """Held by the adaptation that runs; others wait."""
        return asyncio.Lock()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the requests, until it is done or the service ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def predict(self, request: Request, steps: Generator[None, None, T]) -> T:
        """Take `steps` in a prediction thread, and let other requests take theirs in between.

        ClientDisconnect where nobody waits for the answer any more; what was predicted is remembered.
        """

        def step() -> tuple[T] | None:
            try:
                next(steps)
            except StopIteration as end:
                return (end.value,)
            return None

        made = None
        while made is None:
            async with self._prediction_limiter:
                if await request.is_disconnected():
                    raise ClientDisconnect
                # The default limiter lets 40 run, whatever the settings say.
                made = await to_thread.run_sync(step, limiter=self._unlimited)
        return made[0]

    async def compute(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread beside those that predict."""
        return await to_thread.run_sync(work, limiter=self._compute_limiter)

    async def in_database(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread that may wait for the database."""
        return await to_thread.run_sync(work, limiter=self._database_limiter)

    def metrics_text(self) -> bytes:
        """Return the metrics in Prometheus' text format, with the gauges as they are now."""
        self.metrics.waiting.set(self.admission.waiting)
        self.metrics.cache_bytes.set(self._engine.cache_bytes if self._engine else 0)
        return self.metrics.text()

    def close(self) -> None:
        """End what runs beside the requests, and close the database's connections."""
        for task in self._tasks:
            task.cancel()
        if self._temporary is not None:
            self._temporary.cleanup()
        if store := self.__dict__.get("store_or_none"):
            store.close()


def state_of(request: Request) -> State:
    """Return the state of the application that serves `request`."""
    state: State = request.app.state.service
    return state


def _load(name: str) -> Predictor:
    from perfsage.predictor import load_predictor

    return load_predictor(name)
