"""The tables of apps: archives, the models in them, and what betrays machine learning."""

from __future__ import annotations

from dataset.extras import sa
from dataset.schema import metadata

app_archives = sa.Table(
    "app_archives",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # scan_apps: was this archive scanned before?
    sa.Column("fingerprint", sa.LargeBinary(32), nullable=False, unique=True),
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
)

app_models = sa.Table(
    "app_models",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # Writer: which model has this content?
    sa.Column("model_id", sa.LargeBinary(32), nullable=False, unique=True),
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
    # Report: which models have the same structure?
    sa.Index(None, "graph_id"),
)

app_findings = sa.Table(
    "app_findings",
    metadata,
    sa.Column("archive_id", sa.ForeignKey("app_archives.id", ondelete="CASCADE"), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("app_model_id", sa.ForeignKey("app_models.id"), nullable=False),
    sa.PrimaryKeyConstraint("archive_id", "path"),
    # Report: in how many apps is a model?
    sa.Index(None, "app_model_id"),
    sqlite_with_rowid=False,
)

app_sdks = sa.Table(
    "app_sdks",
    metadata,
    sa.Column("archive_id", sa.ForeignKey("app_archives.id", ondelete="CASCADE"), nullable=False),
    sa.Column("sdk", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("how", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("archive_id", "sdk", "how", "evidence"),
    sqlite_with_rowid=False,
)

app_layers = sa.Table(
    "app_layers",
    metadata,
    sa.Column("app_model_id", sa.ForeignKey("app_models.id"), nullable=False),
    sa.Column("fingerprint", sa.LargeBinary(16), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("app_model_id", "fingerprint"),
    # Report: which models share these weights?
    sa.Index(None, "fingerprint"),
    sqlite_with_rowid=False,
)
