"""The service's side of a connection: uvicorn's, which does not wait for slow clients for ever."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import problem

MAX_HEADER_BYTES = 64 << 10


class PatientProtocol(HttpToolsProtocol):
    """Closes connections whose headers, or whose reading of an answer, take longer than the settings allow.

    Subclasses made by `protocol_for` carry the seconds.
    """

    header_seconds = 10.0
    send_seconds = 60.0
    _header_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request's headers."""
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """Refuse headers that are too large; what came before this part was not the end of them."""
        unfinished = self._in_headers
        super().data_received(data)
        if unfinished and self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
                self._refuse(431, f"The headers have more than {MAX_HEADER_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Wait for the rest of the headers from their first byte on."""
        self._in_headers, self._header_bytes = True, 0
        if self._header_timer is None:
            self._await_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop waiting for headers."""
        self._in_headers = False
        self._stop_header_timer()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Wait for the client to read on."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(self.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._stop_send_timer()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_header_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say in our words that the request is no HTTP."""
        self._refuse(400, f"{msg.rstrip('.')}.")

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_seconds, self._give_up)

    def _give_up(self) -> None:
        self._header_timer = None
        self.transport.abort()

    def _refuse(self, status: int, detail: str) -> None:
        self._stop_header_timer()
        body = problem("invalid-request", detail, status=status, hint="Check the client.") | {
            "instance": None
        }
        content = json.dumps(body).encode()
        head = b"content-type: application/problem+json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head % len(content) + content)
        self.transport.close()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


def protocol_for(header_seconds: float, send_seconds: float) -> type[PatientProtocol]:
    """Return the protocol with these limits, for uvicorn's option `http`."""
    limits = {"header_seconds": header_seconds, "send_seconds": send_seconds}
    return type("PatientProtocol", (PatientProtocol,), limits)
