"""The sources by name."""

from __future__ import annotations

import importlib

from dataset.sources.source import Importer
from perfsage.errors import UnknownNameError

_IMPORTERS = {
    "edgemark": ("dataset.sources.edgemark", "EDGEMARK"),
    "help-fbnet": ("dataset.sources.help", "FBNET"),
    "help-nasbench201": ("dataset.sources.help", "NASBENCH201"),
    "mlperf-tiny": ("dataset.sources.mlperf_tiny", "MLPERF_TINY"),
    "ncnn": ("dataset.sources.ncnn", "NCNN"),
    "oneproxy": ("dataset.sources.oneproxy", "ONEPROXY"),
    "qai-hub": ("dataset.sources.qai_hub", "QAI_HUB"),
    "table": ("dataset.sources.table", "TABLE"),
}


def source_names() -> tuple[str, ...]:
    """Return the names of all sources."""
    return tuple(_IMPORTERS)


def get_importer(name: str) -> Importer:
    """Return the importer of a source; UnknownNameError names those that exist."""
    if name not in _IMPORTERS:
        known = ", ".join(_IMPORTERS)
        raise UnknownNameError(f"there is no source {name!r}", hint=f"Known sources: {known}.")
    module, attribute = _IMPORTERS[name]
    importer: Importer = getattr(importlib.import_module(module), attribute)
    return importer
