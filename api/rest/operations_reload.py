"""A new predictor without a pause: its folder, or the link to it, is watched; SIGHUP looks at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

from anyio import to_thread

from api.rest.state import State
from perfsage.errors import PerfsageError
from perfsage.models.manifest import MANIFEST_NAME
from perfsage.predictor import find_predictor, load_predictor

LOG = logging.getLogger("perfsage.rest")

Mark = tuple[str, int, int]


def mark_of(name: str) -> Mark | None:
    """Return what changes when a predictor is replaced: its real folder and its manifest's time and size."""
    try:
        folder = find_predictor(name).resolve()
        status = Path(folder, MANIFEST_NAME).stat()
    except (PerfsageError, OSError):
        return None
    return str(folder), status.st_mtime_ns, status.st_size


class Reloader:
    """Takes over a predictor that has changed; one that cannot be used changes nothing."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._name = state.settings.predictor
        self._mark = mark_of(self._name)
        self._failure: str | None = None

    async def look(self) -> bool:
        """Load the predictor if its folder has changed, and say whether another one answers now."""
        mark = await to_thread.run_sync(mark_of, self._name)
        if mark is None or mark == self._mark:
            return False
        try:
            predictor = await to_thread.run_sync(load_predictor, self._name)
        except PerfsageError as error:
            self._report(str(error))
            return False
        self._mark, self._failure = mark, None
        if predictor.version == self._state.predictor.version:
            return False
        self._state.use(predictor)
        LOG.info("the predictor %s, version %s, answers from now on", predictor.info.name, predictor.version)
        return True

    def _report(self, failure: str) -> None:
        """Log a failure once: a folder that is being written fails until it is complete."""
        if failure != self._failure:
            LOG.warning("the changed predictor cannot be used, the old one goes on answering: %s", failure)
        self._failure = failure


async def watch(state: State) -> None:
    """Look at the predictor's folder every `predictor_poll_seconds`, and whenever SIGHUP arrives."""
    reloader, hang_up = Reloader(state), asyncio.Event()
    pause = state.settings.predictor_poll_seconds or None
    with _listening(hang_up):
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(hang_up.wait(), pause)
            hang_up.clear()
            if state.is_ready:
                await reloader.look()


@contextlib.contextmanager
def _listening(hang_up: asyncio.Event) -> Iterator[None]:
    """Set `hang_up` at SIGHUP, where this thread may listen for signals."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, hang_up.set)
    except (NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
