"""The files of an exported dataset and their columns, the same for Parquet and CSV.

networks.*                one row a network
devices.*                 one row a device; metrics, unavailable and descriptors are JSON
measurements.*            one row a measurement; `network` is a row number of networks.*, from 0
operator_measurements.*   one row an operator's measurement
manifest.json             version, kind, rows of each file; written last, so that an unfinished
                          export is not mistaken for a whole one
"""

from __future__ import annotations

from perfsage.errors import MissingExtraError

try:
    import pyarrow as pa
except ImportError as error:
    raise MissingExtraError("pyarrow", "dataset") from error

__all__ = ["FORMAT", "KINDS", "MANIFEST", "SCHEMAS", "VERSION", "pa", "plain"]

FORMAT = "perfsage-dataset"
VERSION = 1
KINDS = ("parquet", "csv")
MANIFEST = "manifest.json"

_NAME = pa.dictionary(pa.int32(), pa.string())
_LABEL = (
    pa.field("network", pa.int32(), nullable=False),
    *(
        pa.field(name, _NAME, nullable=False)
        for name in (
            "device", "tool", "tool_version", "mode", "conditions", "metric", "definition", "statistic",
        )
    ),
    pa.field("measured_at", pa.int64(), nullable=False),
    pa.field("value", pa.float64()),
    pa.field("unavailable", _NAME),
)  # fmt: skip

SCHEMAS = {
    "networks": pa.schema(
        [
            pa.field("graph_id", pa.string(), nullable=False),
            pa.field("model_id", pa.string(), nullable=False),
            pa.field("space", pa.string()),
            pa.field("seed", pa.int64()),
            pa.field("dtype", pa.string(), nullable=False),
            pa.field("family", pa.string(), nullable=False),
            pa.field("architecture", pa.string(), nullable=False),
            pa.field("operators", pa.int32(), nullable=False),
            pa.field("macs", pa.int64()),
            pa.field("file_bytes", pa.int64(), nullable=False),
            pa.field("structure", pa.string()),  # base64
        ]
    ),
    "devices": pa.schema(
        [
            pa.field(name, pa.string(), nullable=False)
            for name in (
                "name", "kind", "description", "metrics", "unavailable", "descriptors", "tool",
                "tool_version", "source", "licence",
            )
        ]
    ),
    "measurements": pa.schema([*_LABEL, pa.field("samples", pa.string())]),  # numbers between spaces
    "operator_measurements": pa.schema(
        [
            *_LABEL,
            pa.field("subgraph", pa.int32(), nullable=False),
            pa.field("index", pa.int32(), nullable=False),
        ]
    ),
}  # fmt: skip
"""In the order of writing and reading. Times are seconds since 1970, UTC."""


def plain(schema: pa.Schema) -> pa.Schema:
    """Return the schema with plain strings where it has dictionaries, as CSV has it."""
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    )
