"""Put scanned archives into the dataset: all of an archive or nothing of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from dataset.apps.records import Archive, ModelFile, TfliteFacts
from dataset.apps.schema import app_archives, app_findings, app_layers, app_models, app_sdks
from dataset.connect import insert_missing, reading, writing
from dataset.extras import sa
from dataset.records import Network
from dataset.writing import insert_networks

_LOOKUP_BATCH = 500


def known_archives(engine: sa.Engine) -> frozenset[str]:
    """Return the fingerprints of the archives that were scanned, in hex."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(app_archives.c.fingerprint))
        return frozenset(bytes(row.fingerprint).hex() for row in rows)


def add_archive(engine: sa.Engine, archive: Archive, *, replace: bool = False) -> bool:
    """Add an archive with everything in it; False when it was there. `replace` puts it in its place.

    TFLite models that were read become networks of the dataset as well, by their structure.
    """
    models = sorted({f.model.model_id: f.model for f in archive.findings}.values(), key=lambda m: m.model_id)
    fingerprint = bytes.fromhex(archive.fingerprint)
    with writing(engine) as connection:
        if replace:
            connection.execute(sa.delete(app_archives).where(app_archives.c.fingerprint == fingerprint))
        elif _number(connection, fingerprint) is not None:
            return False
        insert_networks(connection, [_network(m, m.tflite) for m in models if m.tflite])
        numbers = _add_models(connection, models)
        insert_missing(connection, app_archives, [_archive_row(archive, fingerprint)])
        number = _number(connection, fingerprint)
        insert_missing(
            connection,
            app_findings,
            [
                {"archive_id": number, "path": f.path, "app_model_id": numbers[f.model.model_id]}
                for f in archive.findings
            ],
        )
        uses = [{"archive_id": number} | asdict(use) for use in archive.sdks]
        insert_missing(connection, app_sdks, uses)
    return True


def _number(connection: sa.Connection, fingerprint: bytes) -> int | None:
    query = sa.select(app_archives.c.id).where(app_archives.c.fingerprint == fingerprint)
    number: int | None = connection.execute(query).scalar()
    return number


def _archive_row(archive: Archive, fingerprint: bytes) -> dict[str, Any]:
    manifest = archive.manifest
    return {
        "fingerprint": fingerprint,
        "path": archive.path,
        "kind": archive.kind,
        "bytes": archive.bytes,
        "status": archive.status,
        "reason": archive.reason,
        "entries": archive.entries,
        "problems": json.dumps(dict(archive.problems)),
        "package": manifest.package,
        "label": manifest.label,
        "version_name": manifest.version_name,
        "version_code": manifest.version_code,
        "min_sdk": manifest.min_sdk,
        "target_sdk": manifest.target_sdk,
        "scanned_at": int(time.time()),
    }


def _add_models(connection: sa.Connection, models: Sequence[ModelFile]) -> dict[str, int]:
    """Add the models and the layers of those that are new; return the number of each."""
    before = _numbers(connection, [model.model_id for model in models])
    new = [model for model in models if model.model_id not in before]
    insert_missing(connection, app_models, [_model_row(model) for model in new])
    numbers = before | _numbers(connection, [model.model_id for model in new])
    layers = [
        {"app_model_id": numbers[model.model_id], "fingerprint": fingerprint, "bytes": size}
        for model in new
        if model.tflite
        for fingerprint, size in {layer.fingerprint: layer.bytes for layer in model.tflite.layers}.items()
    ]
    insert_missing(connection, app_layers, layers)
    return numbers


def _numbers(connection: sa.Connection, model_ids: Iterable[str]) -> dict[str, int]:
    wanted = [bytes.fromhex(model_id) for model_id in model_ids]
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _LOOKUP_BATCH):
        part = wanted[start : start + _LOOKUP_BATCH]
        query = sa.select(app_models.c.model_id, app_models.c.id).where(app_models.c.model_id.in_(part))
        found.update((bytes(model_id).hex(), number) for model_id, number in connection.execute(query))
    return found


def _model_row(model: ModelFile) -> dict[str, Any]:
    facts = model.tflite
    return {
        "model_id": bytes.fromhex(model.model_id),
        "format": model.format,
        "framework": model.framework,
        "state": model.state,
        "evidence": model.evidence,
        "reason": model.reason,
        "bytes": model.bytes,
        "graph_id": bytes.fromhex(facts.graph_id) if facts else None,
        "macs": facts.macs if facts else None,
        "unknown_costs": facts.unknown_costs if facts else None,
        "parameters": facts.parameters if facts else None,
        "quantization": facts.quantization if facts else None,
        "sparsity": facts.sparsity if facts else None,
        "entropy_bits": facts.entropy_bits if facts else None,
        "task": facts.task.name if facts else None,
        "confidence": facts.task.confidence if facts else None,
        "facts": json.dumps(_more(facts)) if facts else None,
    }


def _more(facts: TfliteFacts) -> dict[str, Any]:
    return {
        "operators": dict(facts.operators),
        "subgraphs": facts.subgraphs,
        "inputs": [asdict(port) for port in facts.inputs],
        "outputs": [asdict(port) for port in facts.outputs],
        "metadata": dict(facts.metadata),
        "task_evidence": list(facts.task.evidence),
    }


def _network(model: ModelFile, facts: TfliteFacts) -> Network:
    return Network(
        graph_id=facts.graph_id,
        model_id=model.model_id,
        dtype=facts.quantization,
        operators=sum(facts.operators.values()),
        file_bytes=model.bytes,
        macs=facts.macs if facts.unknown_costs == 0 else None,
        family=facts.task.name,
        structure=facts.structure,
    )
