"""Importers of public measurement sets: after an import, a phone is a device like any other."""

from __future__ import annotations

from dataset.sources.registry import get_importer, source_names
from dataset.sources.running import Imported, import_source
from dataset.sources.source import Found, Importer, Options, Source

__all__ = [
    "Found",
    "Imported",
    "Importer",
    "Options",
    "Source",
    "get_importer",
    "import_source",
    "source_names",
]
