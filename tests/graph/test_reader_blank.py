"""Structures that are made fast: the file with its weights overwritten."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from dataset.spaces import get_space
from perfsage.errors import InvalidModelError
from perfsage.features import extract_features
from perfsage.graph import blank_weights, read_graph, strip_weights
from perfsage.graph.fingerprint import fingerprint
from perfsage.graph.structure import read_structure


@pytest.mark.parametrize("space", ["kws", "classification", "detection"])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_blank_structure_reads_like_the_file(space: str, dtype: str) -> None:
    data = get_space(space).build(5, dtype).data
    graph, blank, stripped = (
        read_graph(data),
        read_graph(blank_weights(data)),
        read_graph(strip_weights(data)),
    )
    assert not blank.has_weights
    assert (blank.model_id, blank.file_bytes) == (graph.model_id, len(data))
    assert fingerprint(blank) == fingerprint(graph) == fingerprint(stripped)
    assert np.array_equal(extract_features(blank).node, extract_features(graph).node)


def test_no_weight_is_left() -> None:
    data = get_space("kws").build(5, "float32").data
    graph, structure = read_graph(data), blank_weights(data)
    body = zlib.decompress(structure[structure.index(b"\x78\x01", 16) :])
    buffers = [bytes(graph.buffer(index)) for index in range(graph.buffers)]
    large = [buffer for buffer in buffers if len(buffer) >= 256]
    assert large
    assert not any(buffer[:64] in body for buffer in large)


def test_what_has_no_weights_is_refused() -> None:
    with pytest.raises(InvalidModelError, match="no weights"):
        blank_weights(blank_weights(get_space("kws").build(5, "int8").data))


def test_a_structure_is_not_inflated_beyond_a_limit() -> None:
    structure = blank_weights(get_space("kws").build(5, "int8").data)
    with pytest.raises(InvalidModelError, match="at most 1,000"):
        read_structure(structure, max_body_bytes=1000)
