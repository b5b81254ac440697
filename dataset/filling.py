"""Opening a dataset to fill it from files, without leaving an empty one behind where they cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset.connect import parse_url
from dataset.store import Store


@contextmanager
def filling(target: str | os.PathLike[str]) -> Iterator[Store]:
    """Open the dataset at a path or URL; a file made for it is removed where an error leaves it empty."""
    url = parse_url(target)
    file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    made = file is not None and not file.exists()
    empty = False
    try:
        with Store.open(target) as store:
            try:
                yield store
            except BaseException:
                empty = not store.stats().networks
                raise
    finally:
        if file is not None and made and empty:
            for end in ("", "-wal", "-shm"):
                file.with_name(file.name + end).unlink(missing_ok=True)
