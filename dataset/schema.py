"""The tables of the dataset.

Strings that repeat (reasons, definitions, conditions) stand once in a table of their own, and a
measurement is a row of small integers and one number: 30 of them a network stay well under 6 KB.
The tables are created by the migrations; a test says that both agree.
"""

from __future__ import annotations

from dataset.extras import sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

networks = sa.Table(
    "networks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
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
    # Store.add_measurements: which network does this model id belong to?
    sa.UniqueConstraint("model_id"),
    # Store.done: which seeds of a space need not be measured again?
    sa.UniqueConstraint("space", "seed", "dtype"),
    sa.CheckConstraint("(space IS NULL) = (seed IS NULL)", name="space_and_seed"),
    # Store.stats and the data card: how many structures are there more than once?
    sa.Index(None, "graph_id"),
)

devices = sa.Table(
    "devices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # Every query that names a device.
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("unavailable", sa.Text, nullable=False),
    sa.Column("descriptors", sa.Text, nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("tool_version", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("licence", sa.Text, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("device_id", sa.ForeignKey("devices.id"), nullable=False),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("tool_version", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("conditions", sa.Text, nullable=False),
    # Writer: does a run on this device, by this tool, under these conditions exist?
    sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    # Store.done and Store.frame: the runs of one device.
    sa.Index(None, "device_id"),
)

quantities = sa.Table(
    "quantities",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("statistic", sa.Text, nullable=False),
    # Writer: the number that stands for this metric, definition and statistic.
    sa.UniqueConstraint("metric", "definition", "statistic"),
)

reasons = sa.Table(
    "reasons",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # Writer: the number that stands for this reason. A hash, since PostgreSQL cannot index long texts.
    sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("text", sa.Text, nullable=False),
)


def _measurement_columns() -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("network_id", sa.ForeignKey("networks.id"), nullable=False),
        sa.Column("run_id", sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("quantity_id", sa.ForeignKey("quantities.id"), nullable=False),
        # Idempotent inserts; and all rows of one network, for the trainer and `rebuild`.
        sa.PrimaryKeyConstraint("network_id", "run_id", "quantity_id"),
        sa.Column("measured_at", sa.BigInteger, nullable=False),
    ]


measurements = sa.Table(
    "measurements",
    metadata,
    *_measurement_columns(),
    sa.Column("value", sa.Double),
    sa.Column("reason_id", sa.ForeignKey("reasons.id")),
    sa.Column("noise", sa.Float),
    sa.Column("samples", sa.LargeBinary),
    sa.CheckConstraint("(value IS NULL) <> (reason_id IS NULL)", name="value_or_reason"),
    # Store.done and Store.frame(device=...): the networks that a run measured.
    sa.Index(None, "run_id"),
    sqlite_with_rowid=False,
)

operator_measurements = sa.Table(
    "operator_measurements",
    metadata,
    *_measurement_columns(),
    # All operators of the network at once: see dataset/encoding.py.
    sa.Column("operators", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
