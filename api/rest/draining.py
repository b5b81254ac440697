"""The end of a worker's connections: no request that was on its way when the worker began to stop is lost."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CLOSE = (b"connection", b"close")
LINGER_SECONDS = 1.0
"""How long a connection without a request stays open: what a client sends meanwhile is answered."""


class DrainingProtocol(HttpToolsProtocol):
    """Answers what arrives while the worker stops, and tells clients to ask on another connection.

    uvicorn closes idle connections at once, so that a request that the kernel holds already, or that
    a client is just sending, ends in "server disconnected".
    """

    _linger_timer: asyncio.TimerHandle | None = None

    @property
    def is_draining(self) -> bool:
        """Whether the worker has begun to stop."""
        return CLOSE in self.server_state.default_headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a connection may be accepted just before the worker stops, and made after."""
        super().connection_made(transport)
        if self.is_draining:
            self._linger()

    def shutdown(self) -> None:
        """Finish the request at hand, or wait a little for one that is on its way."""
        if not self.is_draining:
            self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        if self.cycle is None or self.cycle.response_complete:
            self._linger()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Take what came; from now on the request's own limits hold."""
        self._stop_linger_timer()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_linger_timer()
        super().connection_lost(exc)

    def _linger(self) -> None:
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _stop_linger_timer(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
