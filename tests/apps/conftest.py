"""Real models and one function that scans."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path

import pytest

from dataset.apps.limits import Limits
from dataset.apps.records import Archive
from dataset.apps.scan import scan_archive
from dataset.apps.sdks import SdkTable
from dataset.builder import Builder


@functools.cache
def network(seed: int, *, filters: int = 8, dtype: str = "int8", classes: int = 10, head: int = 0) -> bytes:
    """A small classifier; `head` draws other weights for its last layer only."""
    b = Builder(dtype=dtype, seed=seed)  # type: ignore[arg-type]
    x = b.input((1, 32, 32, 3))
    for _ in range(3):
        x = b.conv(x, filters, stride=2, activation="relu6")
    x = b.mean(x)
    if head:
        b._weights = type(b._weights)(type(b._draws)(f"weights {head}"), 0.0, 1.0)
    b.output(b.softmax(b.fully_connected(x, classes)))
    return b.finish()


def scan(path: Path, limits: Limits | None = None, *, deep: bool = False) -> Archive:
    found = scan_archive(path, SdkTable.load(), limits=limits, deep=deep)
    assert found is not None
    return found


def places(archive: Archive) -> dict[str, str]:
    """Return the format found at each path."""
    return {finding.path: finding.model.format for finding in archive.findings}


@pytest.fixture
def model() -> bytes:
    return network(1)


def app(path: Path, files: dict[str, bytes], *, package: str | None = None, code: int = 1) -> Path:
    """Write an archive with a text manifest, as a library for apps has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        if package:
            text = f'<manifest package="{package}" versionCode="{code}"/>'
            archive.writestr("AndroidManifest.xml", text)
        for name, data in files.items():
            archive.writestr(name, data)
    return path
