"""API keys: `psage_ID_SECRET`. Only the secret's hash is kept, so a copy of the database opens no door."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from api.rest.tables import api_keys, ensure_tables
from dataset.connect import reading, writing
from dataset.store import Store
from perfsage.errors import InvalidInputError, UnknownNameError

SCOPES = ("predict", "write", "admin")
"""What a key may do: predict and read; add measurements; everything, and read `/metrics`."""
_KEY = re.compile(r"psage_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; its secret is not."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: int
    revoked_at: int | None = None

    def allows(self, scope: str) -> bool:
        """Return whether the key may do what `scope` stands for; `write` includes `predict`."""
        if "admin" in self.scopes or scope in self.scopes:
            return True
        return scope == "predict" and "write" in self.scopes


class KeyStore:
    """The keys in a database."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine
        ensure_tables(store)

    def create(self, name: str, scopes: Iterable[str]) -> tuple[Key, str]:
        """Add a key and return it with its text, which cannot be had again; InvalidInputError for a scope."""
        chosen = tuple(dict.fromkeys(scopes))
        if not chosen or not set(chosen) <= set(SCOPES):
            raise InvalidInputError(f"a key has one or more of the scopes {', '.join(SCOPES)}", where="scope")
        if not 0 < len(name) <= 200 or not name.isprintable():
            raise InvalidInputError("a key's name has 1 to 200 printable characters", where="name")
        # The secret has 256 random bits: a plain hash cannot be reversed, and checking it stays cheap.
        secret = secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(6), name, chosen, int(time.time()))
        row = {
            "id": key.id,
            "name": name,
            "secret_sha256": _digest(secret),
            "scopes": " ".join(chosen),
            "created_at": key.created_at,
        }
        with writing(self._engine) as connection:
            connection.execute(api_keys.insert(), [row])
        return key, f"psage_{key.id}_{secret}"

    def list(self) -> list[Key]:
        """Return all keys, the oldest first, also revoked ones."""
        with reading(self._engine) as connection:
            query = sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
            return [_key(row) for row in connection.execute(query)]

    def revoke(self, key_id: str) -> Key:
        """End a key; UnknownNameError where there is none of that id. Ending it again changes nothing."""
        with writing(self._engine) as connection:
            where = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
            connection.execute(api_keys.update().where(where).values(revoked_at=int(time.time())))
            row = connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise UnknownNameError(f"there is no key {key_id!r}", hint="perfsage keys list shows them.")
        return _key(row)

    def check(self, text: str) -> Key | None:
        """Return the key that `text` is, None for anything but a key that is known and not revoked."""
        if (match := _KEY.fullmatch(text)) is None:
            return None
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(api_keys).where(api_keys.c.id == match[1])).one_or_none()
        if row is None or not hmac.compare_digest(bytes(row.secret_sha256), _digest(match[2])):
            return None
        return _key(row) if row.revoked_at is None else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    return Key(row.id, row.name, tuple(row.scopes.split()), row.created_at, row.revoked_at)
