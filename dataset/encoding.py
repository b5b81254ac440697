"""How raw samples and per-operator values stand in the database: as small binary columns."""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from perfsage.measurement import OperatorRef

_OPERATOR_ROW = np.dtype([("subgraph", "<u2"), ("index", "<u4"), ("reason", "<u4"), ("value", "<f8")])
_GAUSSIAN_MAD = 1.4826
"""Median absolute deviation times this is the standard deviation of Gaussian samples."""
_FEWEST_SAMPLES = 3

OperatorValues = Mapping[OperatorRef, tuple[float | None, int | None]]
"""For each operator its value, or the number of the reason why there is none."""


def pack_samples(samples: Sequence[float]) -> bytes | None:
    """Return samples as little-endian float32, None when there are none."""
    return np.asarray(samples, "<f4").tobytes() if samples else None


def unpack_samples(data: bytes | None) -> tuple[float, ...]:
    """Return what `pack_samples` packed, to float32's precision."""
    return tuple(np.frombuffer(data, "<f4").tolist()) if data else ()


def noise(samples: Sequence[float]) -> float | None:
    """Return the samples' relative spread, 1.4826 MAD / median, or None for fewer than three samples."""
    if len(samples) < _FEWEST_SAMPLES:
        return None
    middle = statistics.median(samples)
    deviation = statistics.median(abs(sample - middle) for sample in samples)
    return _GAUSSIAN_MAD * deviation / middle if middle else None


def pack_operators(values: OperatorValues) -> bytes:
    """Return one compressed row an operator, in the order of subgraph and index."""
    rows = np.zeros(len(values), _OPERATOR_ROW)
    ordered = sorted(values.items(), key=lambda item: (item[0].subgraph, item[0].index))
    for row, (operator, (value, reason)) in enumerate(ordered):
        rows[row] = (operator.subgraph, operator.index, reason or 0, 0.0 if value is None else value)
    return zlib.compress(rows.tobytes(), 6)


def unpack_operators(data: bytes) -> dict[OperatorRef, tuple[float | None, int | None]]:
    """Return what `pack_operators` packed."""
    rows = np.frombuffer(zlib.decompress(data), _OPERATOR_ROW).tolist()
    return {
        OperatorRef(subgraph, index): (None, reason) if reason else (value, None)
        for subgraph, index, reason, value in rows
    }
