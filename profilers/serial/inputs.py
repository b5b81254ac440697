"""Random inputs of the right size for a network, the same for the same network and number."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfsage.errors import UnsupportedModelError
from perfsage.graph import Graph, Tensor

NUMPY_TYPES: dict[str, Any] = {"INT8": np.int8, "UINT8": np.uint8, "INT16": np.int16}


def random_input(graph: Graph, number: int) -> bytes:
    """Return the bytes of all inputs, one after the other; UnsupportedModelError where a size is open."""
    subgraph = graph.subgraphs[0]
    return b"".join(_tensor(subgraph.tensors[index], number) for index in subgraph.inputs)


def _tensor(tensor: Tensor, number: int) -> bytes:
    shape, kind, size = tensor.shape, tensor.type, tensor.bytes
    if size is None:
        raise UnsupportedModelError(f"an input's size is open: {shape}", hint="Fix the input's shape first.")
    generator = np.random.default_rng(number)
    if kind == "FLOAT32":
        return generator.standard_normal(shape).astype(np.float32).tobytes()
    if kind in NUMPY_TYPES:
        limits = np.iinfo(NUMPY_TYPES[kind])
        drawn: bytes = generator.integers(
            limits.min, limits.max, shape, NUMPY_TYPES[kind], endpoint=True
        ).tobytes()
        return drawn
    return bytes(size)
