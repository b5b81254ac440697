"""Every model that was found, one row a place: which app, which file, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataset.apps.schema import app_archives, app_findings, app_models, app_sdks
from dataset.connect import reading
from dataset.extras import sa
from dataset.store import Store

if TYPE_CHECKING:
    import pandas as pd

_OF_ARCHIVES = ("package", "label", "version_name", "version_code", "path")
_OF_MODELS = (
    "format", "framework", "state", "reason", "bytes", "macs", "unknown_costs", "parameters", "quantization",
    "sparsity", "entropy_bits", "task", "confidence", "model_id", "graph_id",
)  # fmt: skip


def models_frame(store: Store) -> pd.DataFrame:
    """Return one row a place where a model was found, in the order of packages and places.

    `archive` is the file that was scanned and `path` the place in it. What only TFLite models have (MACs,
    parameters, sparsity, entropy in bits an element, ...) is missing elsewhere; `macs` leaves out
    `unknown_costs` operators. `model_id` and `graph_id` are SHA-256 in hex.
    """
    columns = [
        *(app_archives.c[name].label("archive" if name == "path" else name) for name in _OF_ARCHIVES),
        app_findings.c.path,
        *(app_models.c[name] for name in _OF_MODELS),
    ]
    query = (
        sa.select(*columns)
        .select_from(app_findings.join(app_archives).join(app_models))
        .order_by(app_archives.c.package, app_archives.c.path, app_findings.c.path)
    )
    frame = _frame(store, query)
    for name in ("model_id", "graph_id"):
        frame[name] = [bytes(value).hex() if value is not None else None for value in frame[name]]
    counts = ("version_code", "macs", "unknown_costs", "parameters")
    return frame.astype(dict.fromkeys(counts, "Int64"))


def sdks_frame(store: Store) -> pd.DataFrame:
    """Return one row an archive and library or service that it uses, with the evidence."""
    use = app_sdks.c
    query = (
        sa.select(
            app_archives.c.package,
            app_archives.c.path.label("archive"),
            use.sdk.label("library"),
            use.kind,
            use.how,
            use.evidence,
        )
        .select_from(app_sdks.join(app_archives))
        .order_by(app_archives.c.package, app_archives.c.path, app_sdks.c.sdk, app_sdks.c.evidence)
    )
    return _frame(store, query)


def _frame(store: Store, query: sa.Select[Any]) -> pd.DataFrame:
    import pandas as pd

    with reading(store.engine) as connection:
        found = connection.execute(query)
        return pd.DataFrame(found.all(), columns=list(found.keys()))
