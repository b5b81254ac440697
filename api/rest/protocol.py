"""The service's side of a connection: uvicorn's, which sheds load and waits for slow clients only so long."""

from __future__ import annotations

import asyncio
import json
import time

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.problems import problem
from api.rest.admission import TICKET, Admission, Ticket
from api.rest.draining import DrainingProtocol
from api.rest.errors import MEDIA_TYPE, Refusal
from api.rest.gate import SECURITY_HEADERS
from api.rest.operations import request_id_of

ADMISSION = "admission"
"""Where the state of the application's life has what decides who may come in."""
PATH = b"/v1/predictions"
MAX_HEADER_BYTES = 64 << 10


class Yielding:
    """How long a worker leaves further connections to the others, which have fewer and are then faster.

    All of its requests wait for that long, so no flood of connections may make it wait for long.
    """

    EACH_SECONDS, MOST_SECONDS, MOST_SHARE = 0.001, 0.005, 0.02

    def __init__(self) -> None:
        self._since = self._spent = 0.0

    def seconds(self, connections: int, now: float) -> float:
        """Return how long to wait after accepting one, as the worker now has so many."""
        if now - self._since >= 1.0:
            self._since, self._spent = now, 0.0
        wanted = min(connections * self.EACH_SECONDS, self.MOST_SECONDS)
        granted = max(min(wanted, self.MOST_SHARE - self._spent), 0.0)
        self._spent += granted
        return granted


class PatientProtocol(DrainingProtocol):
    """Closes connections whose headers, or whose reading of an answer, take longer than the settings allow.

    Subclasses made by `protocol_for` carry the seconds.
    """

    header_seconds = 10.0
    send_seconds = 60.0
    yielding: Yielding | None = None
    _header_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = False
    _is_shed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request's headers."""
        super().connection_made(transport)
        if self.yielding is not None:
            time.sleep(self.yielding.seconds(len(self.connections), self.loop.time()))
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
        """Stop waiting for headers, and refuse at once what the service has no place for."""
        self._in_headers = False
        self._stop_header_timer()
        self._is_shed = self._shed()
        if not self._is_shed:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, unless the request was refused already."""
        if not self._is_shed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the body; a connection goes on behind a request that was refused."""
        if not self._is_shed:
            super().on_message_complete()
            return
        self._stop_header_timer()
        if self.parser.should_keep_alive() and not (self.is_draining or self.transport.is_closing()):
            self.on_response_complete()
        else:
            self.transport.close()

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

    def _shed(self) -> bool:
        """Answer a prediction with 503 where there is no place for it, before the rest of the service runs.

        When much is refused, what each refusal costs is what the others wait for.
        """
        admission: Admission | None = self.app_state.get(ADMISSION)
        is_first = self.cycle is None or self.cycle.response_complete
        predicts = self.url.partition(b"?")[0] == PATH and self.parser.get_method() == b"POST"
        if admission is None or not (is_first and predicts):
            return False
        ticket = admission.enter(self.headers)
        if isinstance(ticket, Ticket):
            self.scope["state"][TICKET] = ticket
            return False
        self.cycle = None  # type: ignore[assignment]
        self.transport.write(self._refusal(ticket))
        if self.expect_100_continue:
            # The body may come, or the next request: nobody can know.
            self.transport.close()
        else:
            self._await_headers()  # the body is read and dropped, for as long as headers may take
        return True

    def _refusal(self, refusal: Refusal) -> bytes:
        body = problem(refusal.slug, refusal.detail, status=refusal.status_code, hint=refusal.hint)
        content = json.dumps(body | {"instance": PATH.decode()}).encode()
        given = next((value for name, value in self.headers if name == b"x-request-id"), b"")
        own = {"Content-Type": MEDIA_TYPE, "X-Request-Id": request_id_of(given.decode("latin-1"))}
        headers = SECURITY_HEADERS | own | {"Content-Length": str(len(content))} | dict(refusal.headers or {})
        if self.expect_100_continue or self.is_draining:
            headers["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return STATUS_LINE[refusal.status_code] + f"{lines}\r\n".encode() + content

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


def protocol_for(header_seconds: float, send_seconds: float, *, has_others: bool) -> type[PatientProtocol]:
    """Return the protocol with these limits, for uvicorn's option `http`; `has_others`: among workers."""
    limits = {"header_seconds": header_seconds, "send_seconds": send_seconds}
    yielding = Yielding() if has_others else None
    return type("PatientProtocol", (PatientProtocol,), limits | {"yielding": yielding})
