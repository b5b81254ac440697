"""What every request passes: key and rate on its way in; headers, metrics and log on its way out."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from api.rest.admission import release
from api.rest.errors import Refusal, refusal_response, respond
from api.rest.lru import Lru
from api.rest.state import State

if TYPE_CHECKING:
    from api.rest.keys import Key, KeyStore

LOG = logging.getLogger("perfsage.rest")
ACCESS = logging.getLogger("perfsage.access")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Set where an answer does not say otherwise itself."""
ACCESS_FIELDS = ("client", "key", "method", "path", "status", "sent_bytes", "duration_ms")
CLIENT_CLOSED = 499
"""The status in log and metrics of a request whose client left before its answer, as in nginx."""
_KEY_SECONDS = 10.0
"""How long a key's check is remembered: a revoked key may work for that long."""
_REMEMBERED = 4096


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app, self._state = app, state
        self._keys: KeyStore | None = None
        self._checked: Lru[tuple[float, Key | None]] = Lru(_REMEMBERED, lambda _: 1)
        self._rates = Rates(state.settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; whatever goes wrong is answered with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, send)
        try:
            await self._pass(scope, receive, passage)
        except ClientDisconnect:
            passage.status = passage.status or CLIENT_CLOSED
        except Exception as error:
            if passage.status:
                raise
            response = refusal_response(Request(scope), error) or _failure(scope, error)
            await response(scope, receive, passage.send)
        finally:
            release(scope)
            self._note(scope, passage)

    async def _pass(self, scope: Scope, receive: Receive, passage: _Passage) -> None:
        path, method, state = scope["path"], scope["method"], self._state
        if path.startswith("/v1/") or path == "/metrics":
            if state.settings.keys_required:
                passage.key = await self._authenticate(scope, _scope_of(method, path))
            client = passage.key.id if passage.key else (scope.get("client") or ("",))[0]
            passage.headers |= self._rates.take(client)
        scope.setdefault("state", {})["key"] = passage.key
        await self._app(scope, receive, passage.send)

    async def _authenticate(self, scope: Scope, needed: str) -> Key:
        given = Request(scope).headers.get("authorization", "")
        kind, _, text = given.partition(" ")
        key = await self._check(text.strip()) if kind.lower() == "bearer" else None
        if key is None:
            headers = {"WWW-Authenticate": "Bearer"}
            hint = "Send the header `Authorization: Bearer KEY`; `perfsage keys create` makes keys."
            detail = "The API key is not known." if given else "The request has no API key."
            where = "header Authorization"
            raise Refusal(401, detail, slug="unauthenticated", where=where, hint=hint, headers=headers)
        if not key.allows(needed):
            raise Refusal(
                403, f"The key {key.name!r} lacks the scope.", slug="forbidden", hint=f"Needed: {needed}."
            )
        return key

    async def _check(self, text: str) -> Key | None:
        name = hashlib.sha256(text.encode(errors="replace")).digest()
        known = self._checked.get(name)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        key = await self._state.in_database(lambda: self._key_store().check(text))
        self._checked.put(name, (time.monotonic() + _KEY_SECONDS, key))
        return key

    def _key_store(self) -> KeyStore:
        from api.rest.keys import KeyStore

        if self._keys is None:
            self._keys = KeyStore(self._state.store)
        return self._keys

    def _note(self, scope: Scope, passage: _Passage) -> None:
        """Count and log the request: never its query, its headers or its body, which may hold secrets."""
        seconds = time.perf_counter() - passage.began
        route = getattr(scope.get("route"), "path", "other")
        metrics = self._state.metrics
        metrics.requests.labels(route, scope["method"], passage.status or "none").inc()
        metrics.seconds.labels(route).observe(seconds)
        if ACCESS.isEnabledFor(logging.INFO):
            client = (scope.get("client") or ("-",))[0]
            who = passage.key.id if passage.key else "-"
            path = scope["path"].encode("unicode_escape").decode()[:200]
            line = (client, who, scope["method"], path, passage.status, passage.sent_bytes, 1e3 * seconds)
            fields = dict(zip(ACCESS_FIELDS, line, strict=True))
            ACCESS.info("%s %s %s %s %s %d bytes %.1f ms", *line, extra={"fields": fields})


class _Passage:
    """One request on its way out: adds headers to its answer, and sees its status and size."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.began = time.perf_counter()
        self.key: Key | None = None
        self.headers: dict[str, str] = {}
        self.status = 0
        self.sent_bytes = 0
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.update(self.headers)
        else:
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """A bucket of tokens for each client, which a minute fills; each worker process counts for itself."""

    def __init__(self, per_minute: int) -> None:
        self._limit = per_minute
        self._buckets: Lru[_Bucket] = Lru(_REMEMBERED, lambda _: 1)

    def take(self, client: str) -> dict[str, str]:
        """Take a token and return the headers that say how many are left; Refusal 429 when there is none."""
        if not self._limit:
            return {}
        now = time.monotonic()
        bucket = self._buckets.get(client) or _Bucket(self._limit, now)
        bucket.tokens = min(self._limit, bucket.tokens + (now - bucket.at) * self._limit / 60)
        bucket.at = now
        self._buckets.put(client, bucket)
        enough = bucket.tokens >= 1
        bucket.tokens -= enough
        headers = {
            "RateLimit-Limit": str(self._limit),
            "RateLimit-Remaining": str(int(bucket.tokens)),
            "RateLimit-Reset": str(math.ceil((self._limit - bucket.tokens) * 60 / self._limit)),
        }
        if enough:
            return headers
        seconds = math.ceil((1 - bucket.tokens) * 60 / self._limit)
        detail = f"More than {self._limit} requests came in a minute."
        headers["Retry-After"] = str(max(seconds, 1))
        hint = "Send many models in one request: it counts once."
        raise Refusal(429, detail, slug="rate-limited", hint=hint, headers=headers)


def _scope_of(method: str, path: str) -> str:
    if path == "/metrics":
        return "admin"
    writes = method == "POST" and path.startswith(("/v1/measurements", "/v1/adaptations"))
    return "write" if writes else "predict"


def _failure(scope: Scope, error: Exception) -> ASGIApp:
    LOG.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    hint = "The server's log has the details. Please report it."
    return respond(Request(scope), problem("internal", "The service failed.", status=500, hint=hint), 500)
