"""Long work and how far it is, kept in the database: any worker process can say so."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import sqlalchemy as sa

from api.rest.tables import ensure_tables, jobs
from dataset.connect import reading, writing
from dataset.store import Store

SILENT_SECONDS = 900
"""A job that has not been heard of for so long died with its process."""
_ENDED = ("done", "failed")


def begin(store: Store, kind: str, subject: str) -> str:
    """Record a new job and return its id."""
    ensure_tables(store)
    job_id = secrets.token_hex(8)
    row = {"id": job_id, "kind": kind, "subject": subject, "status": "queued", "detail": "{}"}
    with writing(store.engine) as connection:
        connection.execute(jobs.insert(), [row | {"updated_at": int(time.time())}])
    return job_id


def update(store: Store, job_id: str, status: str, **detail: Any) -> None:
    """Say how far a job is: queued, running, done or failed, and what there is to say about it."""
    values = {"status": status, "detail": json.dumps(detail), "updated_at": int(time.time())}
    with writing(store.engine) as connection:
        connection.execute(jobs.update().where(jobs.c.id == job_id).values(values))


def read(store: Store, job_id: str) -> dict[str, Any] | None:
    """Return a job, None where there is none of that id."""
    ensure_tables(store)
    with reading(store.engine) as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        return None
    status, detail = row.status, json.loads(row.detail)
    if not has_ended(status) and row.updated_at < time.time() - SILENT_SECONDS:
        status, detail = "failed", {"problem": {"detail": "The process that ran it has ended."}}
    shown = {"progress": detail.get("progress", 0.0), "step": detail.get("step", status)}
    found = {name: detail.get(name) for name in ("result", "problem")}
    return {"id": row.id, "kind": row.kind, "subject": row.subject, "status": status, **shown, **found}


def has_ended(status: str) -> bool:
    """Return whether nothing more will happen."""
    return status in _ENDED
