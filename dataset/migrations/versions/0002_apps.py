"""Apps: archives, the models in them, their layers, and what betrays machine learning."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "app_archives",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("problems", sa.Text, nullable=False),
        sa.Column("package", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("version_name", sa.Text),
        sa.Column("version_code", sa.BigInteger),
        sa.Column("min_sdk", sa.BigInteger),
        sa.Column("target_sdk", sa.BigInteger),
        sa.Column("scanned_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_app_archives"),
        sa.UniqueConstraint("fingerprint", name="uq_app_archives_fingerprint"),
    )
    _create_models()
    _create_relations()


def _create_models() -> None:
    op.create_table(
        "app_models",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.LargeBinary(32), nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("framework", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("graph_id", sa.LargeBinary(32)),
        sa.Column("macs", sa.BigInteger),
        sa.Column("unknown_costs", sa.Integer),
        sa.Column("parameters", sa.BigInteger),
        sa.Column("quantization", sa.Text),
        sa.Column("sparsity", sa.Float),
        sa.Column("entropy_bits", sa.Float),
        sa.Column("task", sa.Text),
        sa.Column("confidence", sa.Float),
        sa.Column("facts", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_app_models"),
        sa.UniqueConstraint("model_id", name="uq_app_models_model_id"),
    )
    op.create_index("ix_app_models_graph_id", "app_models", ["graph_id"])


def _of_archive(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("archive_id", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["archive_id"], ["app_archives.id"], name=f"fk_{table}_archive_id", ondelete="CASCADE"
        ),
    ]


def _of_model(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("app_model_id", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["app_model_id"], ["app_models.id"], name=f"fk_{table}_app_model_id"),
    ]


def _create_relations() -> None:
    op.create_table(
        "app_findings",
        *_of_archive("app_findings"),
        *_of_model("app_findings"),
        sa.Column("path", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("archive_id", "path", name="pk_app_findings"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_app_findings_app_model_id", "app_findings", ["app_model_id"])
    op.create_table(
        "app_sdks",
        *_of_archive("app_sdks"),
        sa.Column("sdk", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("how", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("archive_id", "sdk", "how", "evidence", name="pk_app_sdks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "app_layers",
        *_of_model("app_layers"),
        sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("app_model_id", "fingerprint", name="pk_app_layers"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_app_layers_fingerprint", "app_layers", ["fingerprint"])


def downgrade() -> None:
    for table in ("app_layers", "app_sdks", "app_findings", "app_models", "app_archives"):
        op.drop_table(table)
