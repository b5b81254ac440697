"""What a graph read from a .tflite file shows."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as s

from perfsage.graph import Graph, read_graph
from tests.graph.reader_models import (
    buffer,
    chain,
    control_flow,
    external,
    model,
    pack,
    subgraph,
    tensor,
    unusual,
)


def test_the_same_model_from_bytes_a_view_and_a_path(tmp_path: Path) -> None:
    data = pack(chain(2))
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    graphs = [read_graph(source) for source in (data, bytearray(data), memoryview(data), path, str(path))]
    assert {graph.model_id for graph in graphs} == {hashlib.sha256(data).hexdigest()}
    assert {len(list(graph.operators)) for graph in graphs} == {2}


def test_operators_and_tensors_are_views_of_the_columns() -> None:
    main = read_graph(pack(chain(3, activation=1))).subgraphs[0]
    second = main.operators[1]
    assert (second.index, second.subgraph, second.type, second.version) == (1, 0, "CONV_2D", 2)
    assert (second.inputs, second.outputs, second.intermediates) == ((2, 3, -1), (4,), ())
    assert second.attributes["fused_activation_function"] == 1
    assert main.columns.attribute("stride_w").tolist() == [1, 1, 1]
    assert main.columns.attribute("axis", -5).tolist() == [-5, -5, -5]
    weights = main.tensors[3]
    assert (weights.shape, weights.type, weights.bytes, weights.is_constant) == (
        (3, 1, 1, 3),
        "FLOAT32",
        36,
        True,
    )
    assert len(main.operators[:2]) == 2
    assert main.operators[-1] == main.operators[2]
    with pytest.raises(IndexError):
        main.operators[3]
    with pytest.raises(AttributeError):
        second.index = 4


def test_control_flow_signatures_and_metadata() -> None:
    graph = read_graph(pack(control_flow()))
    assert [operator.type for operator in graph.operators] == ["WHILE", "LESS", "LESS", "IF", "ADD"]
    assert graph.subgraphs[0].operators[0].attributes == {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    assert [sub.name for sub in graph.subgraphs] == ["main", "condition", "body", "branch"]
    (signature,) = graph.signatures
    assert (signature.key, signature.inputs, signature.outputs) == ("serving", {"x": 0}, {"y": 1})
    assert graph.metadata == {"min_runtime_version": 0}
    assert (graph.version, graph.description) == (3, "made by a test")


def test_custom_operators_dynamic_sizes_and_vectors_in_options() -> None:
    main = read_graph(pack(unusual())).subgraphs[0]
    custom, reshape, gather, handle = main.operators
    assert (custom.type, custom.is_custom, custom.custom_options) == ("Mine", True, b"\7\10\11")
    assert (custom.intermediates, custom.mutating_variable_inputs) == ((4,), (True,))
    assert reshape.attributes == {"new_shape": (2, -1)}
    assert gather.attributes["offset_dims"] == (1, 2)
    assert gather.attributes["indices_are_sorted"] is True
    assert handle.attributes == {"container": "room", "shared_name": "state"}
    assert (main.tensors[0].shape, main.tensors[0].shape_signature) == ((1, 4), (-1, 4))
    assert main.columns.tensor_is_dynamic.tolist() == [True] + [False] * 6
    assert main.tensors[1].quantization is not None
    assert main.tensors[1].quantization.zero_point == (0, -3)


def test_weights_outside_the_flatbuffer() -> None:
    start = (len(external(4096, 36)) + 15) & ~15
    graph = read_graph(external(start, 36).ljust(start, b"\0") + b"\5" * 36)
    weights = graph.subgraphs[0].tensors[1]
    assert bytes(graph.buffer(weights.buffer)) == b"\5" * 36
    assert graph.subgraphs[0].columns.constant(1) == b"\5" * 36


def test_a_file_of_more_than_two_gigabytes_is_mapped(tmp_path: Path) -> None:
    path, start = tmp_path / "large.tflite", (2 << 30) + 4096
    with path.open("wb") as file:
        file.write(external(start, 36))
        file.truncate(start)
        file.seek(start)
        file.write(b"\7" * 36)
    graph = read_graph(path)
    assert graph.file_bytes == start + 36
    assert bytes(graph.buffer(1)) == b"\7" * 36
    statistics = graph.subgraphs[0].tensors[1].statistics()
    assert statistics is not None
    assert statistics.distinct == 1


def constant(kind: int, shape: list[int], data: bytes, zero_point: int | None = None) -> Graph:
    made = tensor(shape, kind, 1)
    if zero_point is not None:
        made.quantization = s.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [1.0], [zero_point]
    return read_graph(pack(model([subgraph([made], [], [], [0])], [], [buffer(data)])))


@pytest.mark.parametrize(
    ("kind", "array", "zero_point", "sparsity", "entropy_bits", "distinct", "bit_width"),
    [
        (s.TensorType.INT8, np.array([0, 0, 1, -2], "i1"), 0, 0.5, 1.5, 3, 2),
        (s.TensorType.INT8, np.array([-128, 127], "i1"), None, 0.0, 1.0, 2, 8),
        (s.TensorType.UINT8, np.array([128, 128, 128, 255], "u1"), 128, 0.75, 0.811278, 2, 8),
        (s.TensorType.INT16, np.array([-300, 0, 0, 300], "<i2"), 0, 0.5, 1.5, 3, 10),
        (s.TensorType.INT32, np.array([2**31 - 1, -(2**31)], "<i4"), None, 0.0, 1.0, 2, 32),
        (s.TensorType.INT64, np.array([2**40, 0, 0, 0], "<i8"), None, 0.75, 0.811278, 2, 42),
        (s.TensorType.FLOAT32, np.array([0.0, -0.0, 1.0, 2.0], "<f4"), None, 0.5, 2.0, 4, 32),
        (s.TensorType.FLOAT16, np.array([0.0, 1.0], "<f2"), None, 0.5, 1.0, 2, 16),
        (s.TensorType.BOOL, np.array([0, 1, 1, 1], "u1"), None, 0.25, 0.811278, 2, 2),
    ],
)
def test_statistics(
    kind: int,
    array: np.ndarray,
    zero_point: int | None,
    sparsity: float,
    entropy_bits: float,
    distinct: int,
    bit_width: int,
) -> None:
    graph = constant(kind, [len(array)], array.tobytes(), zero_point)
    found = graph.subgraphs[0].tensors[0].statistics()
    assert found is not None
    assert (found.sparsity, found.distinct, found.bit_width) == (sparsity, distinct, bit_width)
    assert found.entropy_bits == pytest.approx(entropy_bits, abs=1e-6)


def test_statistics_of_packed_elements_leave_out_the_padding() -> None:
    graph = constant(s.TensorType.INT4, [3], bytes([0x10, 0x0F]))
    found = graph.subgraphs[0].tensors[0].statistics()
    assert found is not None
    assert (found.sparsity, found.distinct, found.bit_width) == (pytest.approx(1 / 3), 3, 2)
    assert graph.subgraphs[0].tensors[0].bytes == 2


def test_large_constants_are_sampled_close_to_the_truth() -> None:
    chance = np.random.default_rng(5)
    array = np.where(chance.random(1 << 20) < 0.3, 0, chance.integers(-128, 128, 1 << 20)).astype("i1")
    found = constant(s.TensorType.INT8, [1 << 20], array.tobytes()).subgraphs[0].tensors[0].statistics()
    assert found is not None
    assert found.sparsity == pytest.approx((array == 0).mean(), abs=0.03)
    share = np.bincount(array.view("u1"), minlength=256) / len(array)
    assert found.entropy_bits == pytest.approx(-(share * np.log2(share)).sum(), abs=0.15)


def test_a_tensor_without_data_or_fixed_size_has_no_statistics() -> None:
    assert read_graph(pack(chain(1))).subgraphs[0].tensors[0].statistics() is None
    assert constant(s.TensorType.STRING, [1], b"text").subgraphs[0].tensors[0].statistics() is None
