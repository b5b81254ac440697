"""What a weightless structure says about the weights that it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph.flatbuffer import Array
from perfsage.graph.statistics import ColumnStatistics
from perfsage.graph.weight_coding import Coding

_FIRST_FIELDS = [
    ("tensor", "<i4"),
    ("bit_width", "<i4"),
    ("distinct", "<i8"),
    ("sparsity", "<f8"),
    ("entropy_bits", "<f8"),
]
STATISTICS_RECORD = np.dtype([*_FIRST_FIELDS, *((name, "<f4") for name in Coding._fields)])
"""One record for each constant tensor, in order; `tensor` counts over all subgraphs."""
STATISTICS_RECORDS = {1: np.dtype(_FIRST_FIELDS), 2: STATISTICS_RECORD}
"""The records of each version of a structure: the first one knew nothing of NPUs' codes."""
_LIMITS = {"sparsity": 1, "entropy_bits": 64, "common_share": 1, "palette_bits": 1024}
_MOST_BITS = 64
_CODED_SHARE = 1.05
"""Coded bits over entropy, as it is for most weights."""


def current_records(records: Array) -> Array:
    """Return records of any version as STATISTICS_RECORD; what one lacks is taken from its entropy."""
    if records.dtype == STATISTICS_RECORD:
        return records
    made = np.zeros(len(records), STATISTICS_RECORD)
    for name in records.dtype.names or ():
        made[name] = records[name]
    coded = np.minimum(records["entropy_bits"] * _CODED_SHARE, np.maximum(records["bit_width"], 1))
    made["plain_bits"] = made["nonzero_bits"] = coded
    made["zero_bits"] = np.maximum(coded / 2, 1)
    made["common_share"] = 1 / np.maximum(records["distinct"], 1)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class Weightless:
    """The original file's id and size, the bytes of each of its buffers, and its constants' statistics."""

    model_id: str
    file_bytes: int
    buffer_bytes: Array
    records: Array

    def complete(self, buffers: Array) -> None:
        """Give each buffer [start, bytes] its original size; -1 becomes the start where data was stripped."""
        if len(buffers) != len(self.buffer_bytes):
            raise InvalidModelError(
                f"a structure of {len(buffers)} buffers has {len(self.buffer_bytes)} sizes"
            )
        sizes = self.buffer_bytes
        kept = buffers[:, 1] > 0
        if len(sizes) and (sizes.min() < 0 or sizes.max() > self.file_bytes):
            raise InvalidModelError("a structure has buffers larger than the original file")
        if (buffers[kept, 1] != sizes[kept]).any():
            raise InvalidModelError("a structure keeps a buffer whose size it contradicts")
        buffers[~kept & (sizes > 0), 0] = -1
        buffers[:, 1] = sizes

    def statistics(self, bounds: Array) -> list[ColumnStatistics]:
        """Return the statistics of each subgraph, whose tensors are bounds[s] to bounds[s + 1] of all."""
        records, total = self.records, int(bounds[-1])
        tensors = records["tensor"].astype(np.int64)
        if len(tensors) and (tensors.min() < 0 or tensors.max() >= total):
            raise InvalidModelError(f"a structure has statistics outside its {total} tensors")
        names = (name for name in records.dtype.names or () if records[name].dtype.kind == "f")
        if not all(_within(records[name], _LIMITS.get(name, _MOST_BITS)) for name in names):
            raise InvalidModelError("a structure has impossible statistics")
        known = np.zeros(total, bool)
        known[tensors] = True
        columns = [known]
        for name in ColumnStatistics._fields[1:]:
            column = np.zeros(total, np.float64 if records[name].dtype.kind == "f" else np.int64)
            column[tensors] = records[name]
            columns.append(column)
        ends = bounds.tolist()
        spans = [slice(*span) for span in pairwise(ends)]
        return [ColumnStatistics(*(column[span] for column in columns)) for span in spans]


def _within(values: Array, limit: float) -> bool:
    return bool(((values >= 0) & (values <= limit)).all())
