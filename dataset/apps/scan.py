"""Scan one archive: open it, walk through it, say what was found and what was odd."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Container
from pathlib import Path

from dataset.apps.limits import Budget, Limits, Refused
from dataset.apps.manifest import Manifest
from dataset.apps.records import Archive
from dataset.apps.sdks import SdkTable
from dataset.apps.walk import Content, Walk
from dataset.apps.zipfiles import directory_bytes, is_zip
from perfsage.errors import InvalidInputError

COMPLETE, PARTIAL, REFUSED = "complete", "partial", "refused"
_HEAD_BYTES = 1024


def scan_archive(
    path: Path,
    sdks: SdkTable,
    *,
    limits: Limits | None = None,
    known: Container[str] = (),
    deep: bool = False,
    keep: Path | None = None,
) -> Archive | None:
    """Return what an archive holds, or None when `known` has its fingerprint.

    `deep` also decompresses native libraries to read their symbols; `keep` is a folder that TFLite models are
    written into, under names of our own. Nothing is written to disk under a name that the archive chose, and
    no part of it can make this run out of memory or time; what is given up says so in its status.
    InvalidInputError when the file itself cannot be read.

        archive = scan_archive(Path("app.apk"), SdkTable.load())
        for finding in archive.findings:
            print(finding.path, finding.model.format)
    """
    data = _map(path)
    fingerprint = _fingerprint(data)
    if fingerprint in known:
        return None
    budget = Budget(limits or Limits(), len(data))
    walk = Walk(budget, sdks, deep=deep, keep=keep)
    status, reason = _walk(walk, path.name, data)
    return Archive(
        fingerprint=fingerprint,
        path=os.fsencode(path).decode("utf-8", "replace").replace("\0", "\ufffd"),
        kind=_kind(path, walk),
        bytes=len(data),
        status=status,
        reason=reason,
        entries=budget.entries,
        manifest=min(walk.manifests, key=lambda item: item[:2])[2] if walk.manifests else Manifest(),
        problems={name: count for name, count in sorted(budget.problems.items()) if count},
        sdks=tuple(sorted(walk.uses)),
        findings=tuple(walk.findings),
    )


def _walk(walk: Walk, name: str, data: memoryview) -> tuple[str, str | None]:
    try:
        walk.visit(Content(name, "", bytes(data[:_HEAD_BYTES]), len(data), lambda: data))
    except Refused as refusal:
        return (PARTIAL if walk.findings or walk.uses else REFUSED), refusal.reason
    except MemoryError:
        return (PARTIAL if walk.findings else REFUSED), "it asks for more memory than there is"
    return COMPLETE, None


def _map(path: Path) -> memoryview:
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise InvalidInputError("the archive is no regular file", where=str(path))
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"the archive cannot be read: {reason}", where=str(path)) from None


def _fingerprint(data: memoryview) -> str:
    """Return what tells this archive from others, in hex.

    Of a zip archive only the directory is hashed, which holds every entry's name, size and CRC-32: whether
    an archive was scanned before is known without reading it.
    """
    try:
        if is_zip(bytes(data[:4])):
            return hashlib.sha256(b"%d " % len(data) + bytes(directory_bytes(data))).hexdigest()
    except Refused:
        pass
    return hashlib.sha256(data).hexdigest()


_SUFFIXES = {".apk": "apk", ".aab": "aab", ".aar": "aar", ".xapk": "xapk", ".apks": "apks", ".apkm": "apks"}


def _kind(path: Path, walk: Walk) -> str:
    """Return the kind of the archive: by its ending, or app or archive by its content."""
    suffix = path.suffix.lower()
    return _SUFFIXES.get(suffix) or ("app" if walk.manifests else "archive")
