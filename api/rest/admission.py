"""Who may come in: what is refused at once costs little, and what is let in does not wait for long.

Some may wait, so that clients that ask in turns are not refused. Once more come than that, others would all
wait as long as they can bear: while requests are refused, the queue is short. Small requests, such as one
model's structure, and large ones, which take long by themselves, have queues of their own; large ones are
predicted in parts, between which small ones come in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from starlette.types import Scope

from api.rest.errors import Refusal
from api.rest.metrics import Metrics
from api.rest.settings import Settings

SMALL_BYTES = 128 << 10
"""A body up to this size is small: some structures, or one of a network of a thousand operators."""
SHORT_QUEUE, SHORT_SECONDS = 1, 1.0
"""How many may wait while requests are refused, and for how long after the last refusal."""
MAX_ARRIVING = 6
"""Requests that may arrive beyond those that may be predicted, while none is: their answers may be known."""
MAX_RETRY_SECONDS = 60
TICKET = "ticket"
"""Where a request's scope has its place, among its state."""
_MEMORY = 0.9
"""How much of the mean time of a lane's requests is what it was before the latest of them."""


class Lane:
    """Requests of one size: how many arrive and are predicted, and how long prediction took lately."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._most, self._fewest = threads + max_waiting, threads + min(max_waiting, SHORT_QUEUE)
        self._refused_at = -SHORT_SECONDS
        self.arriving, self.predicting, self.mean_seconds = 0, 0, 0.0

    @property
    def limit(self) -> int:
        """How many may wait or be predicted now."""
        is_overloaded = time.monotonic() - self._refused_at < SHORT_SECONDS
        return self._fewest if is_overloaded else self._most

    @property
    def is_full(self) -> bool:
        """Whether a further prediction would wait for too long."""
        return self.predicting >= self.limit

    @property
    def is_crowded(self) -> bool:
        """Whether a further request would find no place once it has arrived."""
        allowed = self.limit if self.predicting else self.limit + MAX_ARRIVING
        return self.arriving + self.predicting >= allowed

    def refuse(self) -> None:
        """Keep the queue short from now on, for a while."""
        self._refused_at = time.monotonic()

    @property
    def retry_seconds(self) -> int:
        """In how many seconds one that came now would be answered, as those that came lately were."""
        return min(max(math.ceil(self.mean_seconds), 1), MAX_RETRY_SECONDS)


class Ticket:
    """A request on its way in: its body arrives, and perhaps its answer is known and needs no prediction."""

    def __init__(self, lane: Lane) -> None:
        self.lane, self._has_arrived = lane, False
        lane.arriving += 1

    def arrived(self) -> None:
        """Make room for others to arrive; once is enough."""
        self.lane.arriving -= not self._has_arrived
        self._has_arrived = True


class Admission:
    """Counts requests for predictions, from their headers on."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._small = Lane(settings.prediction_threads, settings.max_waiting)
        self._large = Lane(settings.prediction_threads, settings.max_waiting)
        self._metrics = metrics

    @property
    def waiting(self) -> int:
        """The requests that arrive, wait or are predicted."""
        return sum(lane.arriving + lane.predicting for lane in (self._small, self._large))

    def enter(self, headers: Iterable[tuple[bytes, bytes]]) -> Ticket | Refusal:
        """Let a request with these headers (names in lower case) send its body, or return a 503 for it."""
        lane = self._lane(dict(headers))
        return self._refusal(lane) if lane.is_crowded else Ticket(lane)

    @contextmanager
    def predicting(self, scope: Scope) -> Iterator[None]:
        """Count a request that has arrived while its answer is made; Refusal 503 where its lane is full."""
        lane = self._lane(dict(scope["headers"]))
        release(scope)
        if lane.is_full:
            raise self._refusal(lane)
        began = time.monotonic()
        lane.predicting += 1
        try:
            yield
        finally:
            lane.predicting -= 1
            seconds = time.monotonic() - began
            lane.mean_seconds = _MEMORY * lane.mean_seconds + (1 - _MEMORY) * seconds

    def _refusal(self, lane: Lane) -> Refusal:
        lane.refuse()
        self._metrics.shed.inc()
        seconds = lane.retry_seconds
        hint = "Try again after a second." if seconds == 1 else f"Try again after {seconds} seconds."
        retry = {"Retry-After": str(seconds)}
        return Refusal(503, "The service is busy.", hint=hint, headers=retry)

    def _lane(self, headers: Mapping[bytes, bytes]) -> Lane:
        """A body of unknown size is large; a request without one is small."""
        declared = headers.get(b"content-length")
        if declared is None:
            return self._large if b"transfer-encoding" in headers else self._small
        small = declared.isdigit() and int(declared[:20]) <= SMALL_BYTES
        return self._small if small else self._large


def release(scope: Scope) -> None:
    """Note that a request has arrived, or was answered before its body had."""
    if ticket := scope.get("state", {}).get(TICKET):
        ticket.arrived()
