"""The service's own tables, beside the dataset's: API keys, idempotent requests and jobs."""

from __future__ import annotations

import sqlalchemy as sa

from dataset.connect import lock_schema, writing
from dataset.store import Store

metadata = sa.MetaData()

api_keys = sa.Table(
    "service_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
)

idempotent_requests = sa.Table(
    "service_idempotent_requests",
    metadata,
    # A key of one client says nothing about another's: `owner` is the API key's id, or empty.
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body_sha256", sa.LargeBinary(32), nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    # The sweep: which requests are older than a day?
    sa.Column("created_at", sa.BigInteger, nullable=False, index=True),
)


jobs = sa.Table(
    "service_jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)


def ensure_tables(store: Store) -> None:
    """Create the tables where they are missing."""
    if set(metadata.tables) <= set(sa.inspect(store.engine).get_table_names()):
        return
    with writing(store.engine) as connection:
        lock_schema(connection)
        metadata.create_all(connection)
