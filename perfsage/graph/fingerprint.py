"""What all predictions of a model depend on, as one short key."""

from __future__ import annotations

import hashlib

import numpy as np

from perfsage.graph.graph import Graph
from perfsage.graph.schema import members
from perfsage.graph.signatures import by_signature

_QUANTIZED = [value for value, name in members("TensorType").items() if name in ("INT8", "UINT8", "INT16")]


def fingerprint(graph: Graph) -> bytes:
    """Return a hash of the structure, the constants' statistics and the file's size.

    Two models with the same fingerprint have the same predictions: it is the key of caches.
    """
    digest = hashlib.blake2b(digest_size=24)
    digest.update(f"{graph.graph_id} {graph.file_bytes}".encode())
    for subgraph in graph.subgraphs:
        columns = subgraph.columns
        signatures = (columns.tensor_has_stale_signature, columns.signature_elements)
        for column in (*columns.tensor_statistics, *signatures):
            digest.update(np.ascontiguousarray(column).tobytes())
        signed = by_signature(subgraph)
        if signed is not subgraph:
            digest.update(signed.columns.tensor_shape.values.tobytes())
        bare = ~columns.tensor_is_quantized & np.isin(columns.tensor_type, _QUANTIZED)
        if bare.any():
            digest.update(bare.tobytes())
    return digest.digest()
