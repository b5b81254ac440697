"""Which accelerators are estimated: those that somebody asks for, and REFERENCES."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidInputError
from perfsage.features.npu.geometry import GEOMETRIES, GEOMETRY_NAMES
from perfsage.features.npu.work import SPILL_BYTES

REFERENCES = ("u55_32", "u55_128", "u55_256", "u65_512", "u85_256", "u85_1024")
"""The accelerators that are always estimated: what a network learns of operators includes their costs."""
_asked: ContextVar[frozenset[str]] = ContextVar("asked", default=frozenset(GEOMETRY_NAMES))


@contextmanager
def estimating(names: Collection[str]) -> Iterator[None]:
    """Estimate these accelerators and REFERENCES alone: all eleven take up to twice as long.

    InvalidInputError for a name that none of them has.
    """
    if unknown := sorted(set(names) - set(GEOMETRY_NAMES)):
        raise InvalidInputError(
            f"no accelerator is called {unknown[0]!r}", hint=f"Known: {', '.join(GEOMETRY_NAMES)}."
        )
    token = _asked.set(frozenset((*names, *REFERENCES)))
    try:
        yield
    finally:
        _asked.reset(token)


REFERENCE_LIMIT = next(
    g.spill - 1 for g in GEOMETRIES if g.name in REFERENCES and g.spill <= len(SPILL_BYTES)
)
"""The position in SPILL_BYTES of the limit that one of REFERENCES has."""


def asked() -> NDArray[np.bool_]:
    """Return which of GEOMETRIES are to be estimated, bool[accelerators]."""
    names = _asked.get()
    return np.array([name in names for name in GEOMETRY_NAMES])


def asked_limits() -> list[int]:
    """Return the positions in SPILL_BYTES of limits that accelerators have which are to be estimated."""
    return sorted(
        {GEOMETRIES[place].spill - 1 for place in np.flatnonzero(asked())} & set(range(len(SPILL_BYTES)))
    )
