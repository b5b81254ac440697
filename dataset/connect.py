"""Open SQLite and PostgreSQL databases so that the rest of the package need not know which it has."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataset.extras import sa
from perfsage.errors import DatasetError, InvalidInputError, MissingExtraError

_BUSY_TIMEOUT_S = 60.0
_WRITES = "perfsage_writes"
_ADVISORY_LOCK = 0x5045_5246
"""Key of the PostgreSQL lock under which the schema is created: "PERF"."""


def parse_url(target: str | os.PathLike[str]) -> sa.URL:
    """Return the URL of a database; a plain path means SQLite, `postgresql://` means psycopg."""
    text = os.fspath(target)
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError as error:
        raise InvalidInputError(f"{text!r} is not a database URL", hint=_URL_HINT) from error
    backend = url.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or not url.database:
        raise InvalidInputError(f"{url.drivername!r} is not a supported database", hint=_URL_HINT)
    return url


_URL_HINT = "Use a file's path, sqlite:///FILE or postgresql://USER@HOST/NAME."


def make_engine(url: sa.URL) -> sa.Engine:
    """Return an engine; MissingExtraError where PostgreSQL's driver is not installed."""
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return sa.create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise MissingExtraError("psycopg", "postgres") from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not when the driver likes
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes the lock at once: upgrading a read transaction fails instead of waiting.
    immediate = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection with one consistent view of the data."""
    with translated(engine), engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection whose work is committed as a whole at the end, or not at all."""
    options = {_WRITES: True}
    with translated(engine), engine.execution_options(**options).begin() as connection:
        yield connection


def lock_schema(connection: sa.Connection) -> None:
    """Let one process at a time create the tables; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def insert_missing(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows, which all have the same columns, that no unique constraint refuses."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _insert_arrays(connection, table, rows)
        return
    from sqlalchemy.dialects.sqlite import insert

    connection.execute(insert(table).on_conflict_do_nothing(), rows)


def _insert_arrays(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Send one array a column: twice as fast with psycopg as its executemany."""
    names = list(rows[0])
    types = (table.c[name].type.compile(connection.dialect) for name in names)
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays})"
    values = tuple([row[name] for row in rows] for name in names)
    connection.exec_driver_sql(f"{statement} ON CONFLICT DO NOTHING", values)


@contextmanager
def translated(engine: sa.Engine) -> Iterator[None]:
    """Turn database errors into DatasetError with advice."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise DatasetError(_summary(error), where=where, hint=_advice(str(error.orig))) from error


def _summary(error: sa.exc.DBAPIError) -> str:
    text = str(error.orig).strip() or type(error.orig).__name__
    return f"the database failed: {text.splitlines()[0]}"


def _advice(message: str) -> str:
    for part, advice in (
        ("not a database", "Is this the right file? If so, restore it from a copy or an export."),
        ("malformed", "The file is damaged: restore it from a copy or an export."),
        ("locked", "Another process holds the database: wait for it, or use PostgreSQL for many writers."),
        ("unable to open", "Check that the folder exists and can be written to."),
        ("readonly", "Check the permissions of the file and of its folder."),
        ("full", "Free some disk space; nothing of the last batch was written."),
        ("connect", "Check that the server runs, and the host, user and database name."),
    ):
        if part in message:
            return advice
    return "Nothing of the last batch was written."


def require_file(url: sa.URL) -> None:
    """Raise DatasetError where a SQLite file is asked for that does not exist."""
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise DatasetError(
            "there is no such dataset", where=url.database, hint="Collect one with: perfsage collect"
        )
