"""Read .pt files without running what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dataset.sources.source import wrong
from perfsage.errors import MissingExtraError

_LARGEST_FILE_BYTES = 256 << 20
_MOST_VALUES = 1_000_000


def read_torch(path: Path) -> Any:
    """Return what torch.save wrote: containers, numbers, text, tensors and arrays, and nothing else."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error

    if not path.is_file():
        raise wrong("there is no such file", path)
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise wrong(f"the file is larger than {_LARGEST_FILE_BYTES >> 20} MB", path)
    try:
        with torch.serialization.safe_globals(_array_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # damaged files raise anything: RuntimeError, UnpicklingError, EOFError, KeyError
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise wrong(f"this is no PyTorch file of plain data: {what}", path) from error


def _array_types() -> list[Any]:
    """Return what NumPy arrays need to be read: constructors without side effects."""
    from numpy._core import multiarray

    kinds = {type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "bool")}
    names = [multiarray._reconstruct, multiarray.scalar]
    aliases = [(each, f"numpy.core.multiarray.{each.__name__}") for each in names]
    return [*names, *aliases, np.ndarray, np.dtype, *kinds]


def read_numbers(path: Path) -> list[float]:
    """Return a file that holds a list, a tensor or an array of numbers."""
    values = read_torch(path)
    try:
        flat = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise wrong(f"the file holds no list of numbers: {error}", path) from error
    if not 0 < flat.size <= _MOST_VALUES:
        raise wrong(f"the file holds {flat.size} numbers", path)
    return [float(value) for value in flat]
