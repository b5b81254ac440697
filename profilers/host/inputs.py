"""Deterministic random inputs for a model, one array for each input tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profilers.worker import UnsupportedError

_MAX_INPUT_BYTES = 1 << 30
_SEED = 20220107


def input_arrays(details: Iterable[Mapping[str, Any]]) -> dict[int, NDArray[Any]]:
    """Return an array for each input of LiteRT's `get_input_details`, by tensor index.

    Integers fill their type's range up to 127 in magnitude (so that indices and quantized data are both
    plausible), floats are uniform in [-1, 1), booleans alternate at random.
    """
    generator = np.random.default_rng(_SEED)
    return {int(detail["index"]): _array(detail, generator) for detail in details}


def _array(detail: Mapping[str, Any], generator: np.random.Generator) -> NDArray[Any]:
    shape = tuple(int(size) for size in detail["shape"])
    try:
        dtype = np.dtype(detail["dtype"])
    except TypeError:
        raise UnsupportedError(f"input {detail['name']!r} has no numpy type") from None
    if dtype.kind not in "fiubc":
        raise UnsupportedError(f"input {detail['name']!r} is of type string, for which nothing is made up")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > _MAX_INPUT_BYTES:
        raise UnsupportedError(f"input {detail['name']!r} is larger than {_MAX_INPUT_BYTES >> 20} MiB")
    return _random(dtype, shape, generator)


def _random(dtype: np.dtype[Any], shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    if dtype.kind == "f":
        return generator.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "c":
        return (generator.uniform(-1, 1, shape) + 1j * generator.uniform(-1, 1, shape)).astype(dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    # int32 and int64 inputs are mostly indices, lengths or flags: small and not negative.
    low = -128 if dtype == np.int8 else 0
    high = {1: 256 + low, 2: 128}.get(dtype.itemsize, 2)
    return generator.integers(low, high, shape).astype(dtype)
