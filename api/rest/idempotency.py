"""Requests that were served before: a client that saw no answer can ask again without doing it twice."""

from __future__ import annotations

import hmac
import time

import sqlalchemy as sa

from api.rest.errors import Refusal
from api.rest.tables import ensure_tables
from api.rest.tables import idempotent_requests as requests
from dataset.connect import insert_missing, reading, writing
from dataset.store import Store

KEPT_SECONDS = 24 * 3600


def recall(store: Store, owner: str, key: str, body_sha256: bytes) -> str | None:
    """Return the answer to a request with this key, None where it is new; Refusal 409 for another body."""
    ensure_tables(store)
    where = (requests.c.owner == owner) & (requests.c.key == key)
    with reading(store.engine) as connection:
        row = connection.execute(sa.select(requests).where(where)).one_or_none()
    if row is None or row.created_at < time.time() - KEPT_SECONDS:
        return None
    if not hmac.compare_digest(bytes(row.body_sha256), body_sha256):
        raise Refusal(
            409,
            "The idempotency key was used for another request.",
            slug="idempotency-conflict",
            where="header Idempotency-Key",
            hint="A new request needs a new key.",
        )
    answer: str = row.answer
    return answer


def remember(store: Store, owner: str, key: str, body_sha256: bytes, answer: str) -> None:
    """Keep an answer for a day, and drop those that are older."""
    now = int(time.time())
    row = {"owner": owner, "key": key, "body_sha256": body_sha256, "answer": answer, "created_at": now}
    with writing(store.engine) as connection:
        connection.execute(requests.delete().where(requests.c.created_at < now - KEPT_SECONDS))
        insert_missing(connection, requests, [row])
