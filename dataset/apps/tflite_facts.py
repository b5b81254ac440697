"""Everything that a scan keeps of a TFLite model, from one full parse."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from dataset.apps.records import Layer, TensorSummary, TfliteFacts
from dataset.apps.tasks import Clues, Port, Task, guess_task
from perfsage.errors import InvalidModelError
from perfsage.graph import Graph, Subgraph, strip_weights
from perfsage.graph.costs import graph_macs, graph_parameters
from perfsage.graph.model import parse
from perfsage.graph.schema import type_name

_MIN_LAYER_BYTES: Final = 256
"""Smaller constants (biases of zero, shapes) are the same in models that have nothing in common."""
_MAX_LAYERS: Final = 10_000
_SAMPLE_RUNS, _RUN_BYTES = 16, 1024
_MAX_PORTS: Final = 64
_METADATA_FIELDS = {0: "name", 1: "description", 2: "version", 4: "author", 5: "license"}
_METADATA_BUFFER: Final = "TFLITE_METADATA"
_NAMES_LOOKED_AT: Final = 400


def read_facts(data: memoryview, path: str) -> TfliteFacts:
    """Return what a model tells; InvalidModelError when it cannot be read completely."""
    graph = parse(data)
    macs, unknown = graph_macs(graph)
    sparsity, entropy_bits = _statistics(graph)
    metadata = _metadata(graph)
    inputs, outputs = (_ports(graph, side) for side in ("inputs", "outputs"))
    operators = Counter(_clean(operator.type) for operator in graph.operators)
    return TfliteFacts(
        graph_id=graph.graph_id,
        operators=dict(sorted(operators.items())),
        subgraphs=len(graph.subgraphs),
        macs=macs,
        unknown_costs=len(unknown),
        parameters=graph_parameters(graph),
        quantization=_quantization(graph),
        sparsity=sparsity,
        entropy_bits=entropy_bits,
        inputs=inputs,
        outputs=outputs,
        metadata=metadata,
        task=_task(graph, path, metadata, inputs, outputs, operators),
        layers=tuple(_layers(graph, len(data))),
        structure=zlib.compress(strip_weights(graph), 6),
    )


def _clean(text: str) -> str:
    return text.replace("\0", "\ufffd")[:256]


def _ports(graph: Graph, side: str) -> tuple[TensorSummary, ...]:
    if not graph.subgraphs:
        return ()
    main = graph.subgraphs[0]
    tensors = (main.tensors[index] for index in getattr(main, side)[:_MAX_PORTS] if index >= 0)
    return tuple(TensorSummary(_clean(tensor.name), tensor.type, tensor.shape) for tensor in tensors)


def _statistics(graph: Graph) -> tuple[float | None, float | None]:
    """Return mean sparsity and entropy over the constants, weighted by their elements.

    Tensors that are stored sparsely leave out zeros, which count as zeros here.
    """
    totals = np.zeros(3)
    for subgraph in graph.subgraphs:
        found, elements = subgraph.columns.tensor_statistics, subgraph.columns.tensor_elements
        weights = np.where(found.known, elements, 0).astype(float)
        whole = np.maximum(subgraph.columns.tensor_bytes, 1)
        stored = np.clip(subgraph.columns.tensor_constant_bytes / whole, 0, 1)
        zeros = 1 - stored * (1 - found.sparsity)
        totals += weights.sum(), weights @ zeros, weights @ found.entropy_bits
    if not totals[0]:
        return None, None
    return round(float(totals[1] / totals[0]), 6), round(float(totals[2] / totals[0]), 6)


def _quantization(graph: Graph) -> str:
    """Return how weights and activations are stored, by the type that most of each have."""
    weights: Counter[str] = Counter()
    activations: Counter[str] = Counter()
    for subgraph in graph.subgraphs:
        for tensor in _typed(subgraph):
            (weights if tensor[1] else activations)[tensor[0]] += tensor[2]
    activation = activations.most_common(1)[0][0] if activations else "FLOAT32"
    weight = weights.most_common(1)[0][0] if weights else activation
    return _SCHEMES.get((weight, activation), f"{weight.lower()} weights, {activation.lower()} activations")


_SCHEMES = {
    ("FLOAT32", "FLOAT32"): "float32",
    ("FLOAT16", "FLOAT32"): "float16 weights",
    ("FLOAT16", "FLOAT16"): "float16",
    ("INT8", "INT8"): "int8",
    ("UINT8", "UINT8"): "uint8",
    ("INT8", "FLOAT32"): "dynamic range",
    ("UINT8", "FLOAT32"): "dynamic range",
    ("INT8", "INT16"): "int16x8",
    ("INT4", "INT8"): "int4 weights",
    ("INT4", "FLOAT32"): "int4 dynamic range",
}


def _typed(subgraph: Subgraph) -> Iterator[tuple[str, bool, int]]:
    """Yield (type, whether it is a weight, its weight in the vote) of tensors that hold numbers."""
    columns = subgraph.columns
    for kind in np.unique(columns.tensor_type).tolist():
        name = type_name(int(kind))
        if name in ("INT32", "INT64", "BOOL", "STRING", "RESOURCE", "VARIANT"):
            continue
        of_kind = columns.tensor_type == kind
        constant = of_kind & columns.tensor_is_constant
        yield name, True, int(columns.tensor_constant_bytes[constant].sum())
        yield name, False, int((of_kind & ~columns.tensor_is_constant).sum())


def _layers(graph: Graph, file_bytes: int) -> Iterator[Layer]:
    """Yield the fingerprint of each buffer of weights once.

    CRC-32 of all data, their size, and SHA-256 of 16 samples: a fine-tuned layer differs everywhere, and
    hashing all of it again would cost more than everything else. A file whose buffers overlap, so that there
    is more to hash than the file has, is left off there.
    """
    seen: set[int] = set()
    bytes_left = file_bytes
    for subgraph in graph.subgraphs:
        columns = subgraph.columns
        large = columns.tensor_is_constant & (columns.tensor_constant_bytes >= _MIN_LAYER_BYTES)
        for tensor in np.flatnonzero(large).tolist():
            buffer = int(columns.tensor_buffer[tensor])
            data = columns.constant(tensor)
            if buffer in seen or len(seen) >= _MAX_LAYERS or not len(data):
                continue
            seen.add(buffer)
            bytes_left -= len(data)
            if bytes_left < 0:
                return
            if data[0] != data[-1] or len(set(bytes(data[:_RUN_BYTES]))) > 1:
                yield Layer(_fingerprint(data), len(data))


def _fingerprint(data: memoryview) -> bytes:
    digest = hashlib.sha256(struct.pack("<QL", len(data), zlib.crc32(data)))
    step = max(len(data) // _SAMPLE_RUNS, 1)
    for start in range(0, len(data), step):
        digest.update(data[start : start + _RUN_BYTES])
    return digest.digest()[:16]


def _metadata(graph: Graph) -> dict[str, str]:
    """Return the texts of the model's metadata (schema of TFLite Metadata 1.x) and its description."""
    found = {"converter": _clean(graph.description)} if graph.description else {}
    try:
        index = graph.metadata.get(_METADATA_BUFFER)
        found |= _texts(graph.buffer(index)) if index is not None else {}
    except (InvalidModelError, struct.error, ValueError):
        pass  # A model without readable metadata runs all the same.
    return found


def _texts(data: memoryview) -> dict[str, str]:
    (root,) = struct.unpack_from("<L", data, 0)
    vtable = root - struct.unpack_from("<l", data, root)[0]
    if vtable < 0:
        return {}
    (size,) = struct.unpack_from("<H", data, vtable)
    found = {}
    for slot, name in _METADATA_FIELDS.items():
        entry = 4 + 2 * slot
        offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry + 2 <= size else 0
        if offset:
            at = root + offset + struct.unpack_from("<L", data, root + offset)[0]
            (length,) = struct.unpack_from("<L", data, at)
            found[name] = _clean(bytes(data[at + 4 : at + 4 + min(length, 1024)]).decode("utf-8", "replace"))
    return found


def _task(
    graph: Graph,
    path: str,
    metadata: dict[str, str],
    inputs: tuple[TensorSummary, ...],
    outputs: tuple[TensorSummary, ...],
    operators: Counter[str],
) -> Task:
    names = [tensor.name for tensor in (*inputs, *outputs)]
    if graph.subgraphs:
        tensors = graph.subgraphs[0].tensors
        names += [tensors[index].name for index in range(min(len(tensors), _NAMES_LOOKED_AT))]
    described = " ".join(metadata.get(key, "") for key in ("name", "description"))
    taken, given = (
        [Port(t.name, t.type, _without_batch(t.shape)) for t in side] for side in (inputs, outputs)
    )
    return guess_task(Clues(path, described, " ".join(names), taken, given, operators))


def _without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
