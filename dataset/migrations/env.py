"""Alembic's entry point: runs migrations on the connection that `dataset.migrations` hands over."""

from __future__ import annotations

from alembic import context

from dataset.migrations import VERSION_TABLE
from dataset.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
