"""Operator types as indices: the builtin enumeration, then hashed buckets for everything else."""

from __future__ import annotations

import zlib

BUILTIN_SLOTS = 256
"""The enumeration ended at 209 when this was written; later builtin operators still get their own slot."""
CUSTOM_BUCKETS = 32
TYPE_COUNT = BUILTIN_SLOTS + CUSTOM_BUCKETS
CUSTOM_CODE = 32
"""`tflite.BuiltinOperator.CUSTOM`."""


def type_index(builtin_code: int, custom_name: str | None = None) -> int:
    """Return the row of the type embedding: the builtin code, or a stable hash bucket of the name.

    Builtin codes outside the table hash as well, so that a model from a later schema is still handled.
    """
    if builtin_code != CUSTOM_CODE and 0 <= builtin_code < BUILTIN_SLOTS:
        return builtin_code
    name = custom_name if builtin_code == CUSTOM_CODE and custom_name else f"builtin {builtin_code}"
    return BUILTIN_SLOTS + zlib.crc32(name.encode()) % CUSTOM_BUCKETS
