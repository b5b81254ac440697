"""The first schema: networks, devices, runs, measurements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "networks",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.LargeBinary(32), nullable=False),
        sa.Column("graph_id", sa.LargeBinary(32), nullable=False),
        sa.Column("space", sa.Text),
        sa.Column("seed", sa.BigInteger),
        sa.Column("dtype", sa.Text, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("architecture", sa.Text, nullable=False),
        sa.Column("operators", sa.Integer, nullable=False),
        sa.Column("macs", sa.BigInteger),
        sa.Column("file_bytes", sa.BigInteger, nullable=False),
        sa.Column("structure", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_networks"),
        sa.UniqueConstraint("model_id", name="uq_networks_model_id"),
        sa.UniqueConstraint("space", "seed", "dtype", name="uq_networks_space_seed_dtype"),
        sa.CheckConstraint("(space IS NULL) = (seed IS NULL)", name="ck_networks_space_and_seed"),
    )
    op.create_index("ix_networks_graph_id", "networks", ["graph_id"])
    _create_devices_and_runs()
    _create_dictionaries()
    _create_measurements()


def _create_devices_and_runs() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("unavailable", sa.Text, nullable=False),
        sa.Column("descriptors", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("tool_version", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("licence", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.UniqueConstraint("name", name="uq_devices_name"),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("device_id", sa.Integer, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("tool_version", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("conditions", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("hash", name="uq_runs_hash"),
        sa.ForeignKeyConstraint(["device_id"], ["devices.id"], name="fk_runs_device_id"),
    )
    op.create_index("ix_runs_device_id", "runs", ["device_id"])


def _create_dictionaries() -> None:
    op.create_table(
        "quantities",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("statistic", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quantities"),
        sa.UniqueConstraint(
            "metric", "definition", "statistic", name="uq_quantities_metric_definition_statistic"
        ),
    )
    op.create_table(
        "reasons",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reasons"),
        sa.UniqueConstraint("hash", name="uq_reasons_hash"),
    )


def _keys(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("network_id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("quantity_id", sa.Integer, nullable=False),
        sa.Column("measured_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("network_id", "run_id", "quantity_id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["network_id"], ["networks.id"], name=f"fk_{table}_network_id"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=f"fk_{table}_run_id"),
        sa.ForeignKeyConstraint(["quantity_id"], ["quantities.id"], name=f"fk_{table}_quantity_id"),
    ]


def _create_measurements() -> None:
    op.create_table(
        "measurements",
        *_keys("measurements"),
        sa.Column("value", sa.Double),
        sa.Column("reason_id", sa.Integer),
        sa.Column("noise", sa.Float),
        sa.Column("samples", sa.LargeBinary),
        sa.ForeignKeyConstraint(["reason_id"], ["reasons.id"], name="fk_measurements_reason_id"),
        sa.CheckConstraint("(value IS NULL) <> (reason_id IS NULL)", name="ck_measurements_value_or_reason"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_measurements_run_id", "measurements", ["run_id"])
    op.create_table(
        "operator_measurements",
        *_keys("operator_measurements"),
        sa.Column("operators", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in (
        "operator_measurements",
        "measurements",
        "reasons",
        "quantities",
        "runs",
        "devices",
        "networks",
    ):
        op.drop_table(table)
