"""Bring a database to this version's schema, and tell which version it has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dataset.apps import schema as app_schema
from dataset.connect import lock_schema, reading, writing
from dataset.extras import sa
from dataset.schema import metadata
from perfsage.errors import DatasetError, SchemaVersionError

__all__ = ["HEAD", "VERSION_TABLE", "app_schema", "configuration", "current", "ensure", "upgrade"]

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "perfsage_schema_version"
HEAD = "0002"
"""The migration that this version of PerfSAGE works with: a test compares it with the newest script."""


def current(connection: sa.Connection) -> str | None:
    """Return the migration that the database is at, None for one without our tables."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return version


def upgrade(engine: sa.Engine) -> None:
    """Run the missing migrations in one transaction."""
    with writing(engine) as connection:
        lock_schema(connection)
        if current(connection) != HEAD:
            _run(connection)


def ensure(engine: sa.Engine, *, create: bool) -> None:
    """Create the tables in an empty database; SchemaVersionError for one at another migration."""
    with reading(engine) as connection:
        version = current(connection)
        tables = set(sa.inspect(connection).get_table_names())
    where = engine.url.render_as_string(hide_password=True)
    if version is None:
        if not create:
            raise DatasetError("this database holds no dataset", where=where, hint="Name another one.")
        _refuse_strangers(tables, where)
        upgrade(engine)
    elif version != HEAD:
        raise SchemaVersionError(
            f"the dataset is at migration {version}, and this version of PerfSAGE works with {HEAD}",
            where=where,
            hint="If it is an older dataset, run: perfsage dataset upgrade. If newer, upgrade PerfSAGE.",
        )


def _refuse_strangers(tables: set[str], where: str) -> None:
    taken = sorted(tables & set(metadata.tables))
    if taken:
        raise DatasetError(
            f"the database has tables of other software called {', '.join(taken)}",
            where=where,
            hint="Use another database.",
        )


def _run(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(configuration(connection), HEAD)
    except CommandError as error:
        raise SchemaVersionError(
            f"the dataset cannot be brought to migration {HEAD}: {error}",
            where=connection.engine.url.render_as_string(hide_password=True),
            hint="It was made by a newer version of PerfSAGE: upgrade PerfSAGE.",
        ) from error


def configuration(connection: sa.Connection) -> Config:
    """Return Alembic's configuration for our scripts and this connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
