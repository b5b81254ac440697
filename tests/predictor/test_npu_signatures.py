"""Files whose tensors are not what their shapes say, or lack what Vela needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import Model, ModelT, TensorType

from benchmarks.npu_formulas import ours as formulas
from benchmarks.npu_formulas import vela
from dataset.builder import Builder
from perfsage.features import extract_features, extract_many
from perfsage.graph import read_graph
from perfsage.graph.fingerprint import fingerprint
from perfsage.graph.signatures import by_signature
from profilers.npu.tasks import compile_model
from tests.graph.costs_models import Op, Part, T, model_bytes
from tests.predictor.npu import operator_cycles

IMAGE, MADE = (-1, 32, 32, 16), (-1, 30, 30, 16)


def _tiled(signed: bool) -> bytes:
    """Two tiles of an image, convolved and joined; signatures say that each is as large as the whole."""
    b = Builder(dtype="int8", seed=3)
    x = b.input((1, 32, 32, 16))
    halves = [b.strided_slice(x, (0, top, 0, 0), (1, top + 17, 32, 16)) for top in (0, 15)]
    parts = [b.conv(b.conv(half, 16, kernel=3, padding="valid"), 16) for half in halves]
    b.output(b.conv(b.concat(parts, axis=1), 8))
    data = b.finish()
    return _with_signatures(data, {17: IMAGE, 15: MADE}) if signed else data


def _with_signatures(data: bytes, by_height: Mapping[int, Sequence[int]]) -> bytes:
    model = ModelT.InitFromObj(Model.GetRootAs(data, 0))
    for tensor in model.subgraphs[0].tensors:
        shape = [] if tensor.shape is None else list(tensor.shape)
        if len(shape) == 4 and shape[0] == 1:
            tensor.shapeSignature = list(by_height.get(shape[1], [-1, *shape[1:]]))
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
def test_signatures_are_what_vela_reads(device: str) -> None:
    names, ours, theirs = operator_cycles(device, _tiled(signed=True))
    for row, name in enumerate(names):
        assert ours[row] == pytest.approx(theirs[row], rel=0.03), name


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512"])
def test_pads_that_pad_nothing_copy_few_channels_in_another_shape(device: str) -> None:
    b = Builder(dtype="int8", seed=3)
    padded = b.pad(b.input((1, 240, 320, 1)), ((0, 0), (1, 1), (1, 1), (0, 0)))
    halves = [b.strided_slice(padded, (0, top, 0, 0), (1, top + 124, 322, 1)) for top in (0, 118)]
    b.output(b.add(*(b.conv(half, 16, kernel=3, stride=2) for half in halves)))
    same = (-1, 240, 320, 1)
    data = _with_signatures(b.finish(), {242: same, 124: same, 62: (-1, 120, 160, 16)})
    _, ours, theirs = operator_cycles(device, data)
    assert ours[0] == pytest.approx(theirs[0], rel=0.04)
    assert ours.sum() == pytest.approx(sum(theirs.values()), rel=0.03)
    peaks = formulas(device, extract_features(read_graph(data)))[1], vela(device, data)
    assert peaks[1] is not None
    assert peaks[0] == pytest.approx(peaks[1][1], rel=0.01)


def test_signatures_that_say_what_shapes_say_change_nothing() -> None:
    plain, signed = _tiled(signed=False), _with_signatures(_tiled(signed=False), {})
    graphs = [read_graph(data) for data in (plain, signed, _tiled(signed=True))]
    assert [by_signature(g.subgraphs[0]) is g.subgraphs[0] for g in graphs] == [True, True, False]
    features = extract_many(graphs)
    for graph, found in zip(graphs, features, strict=True):
        assert np.array_equal(found.physical, extract_features(graph).physical)
    assert np.array_equal(features[0].node, features[1].node)
    assert len({fingerprint(graph) for graph in graphs}) == 3


@pytest.mark.parametrize(
    ("name", "kind", "quantized"),
    [("RELU", "INT8", True), ("RELU", "INT16", False), ("MAXIMUM", "INT32", True), ("ADD", "INT32", True)],
)
def test_elements_that_vela_refuses_cost_nothing(name: str, kind: str, quantized: bool) -> None:
    tensors = [T([1, 8, 8, 16], kind, quantized=quantized) for _ in range(3)]
    inputs = [0] if name == "RELU" else [0, 1]
    data = model_bytes([Part(tensors, [Op(name, inputs, [2])], inputs, [2])])
    for device in ("ethos-u55-128", "ethos-u85-256"):
        refused = compile_model(data, {"device": device, "layers": True})["cpu_indices"] == [0]
        features = extract_features(read_graph(data))
        assert (features.cost("cycles_" + device[6:].replace("-", "_"))[0] == 0) == refused


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256"])
def test_a_part_that_is_all_of_what_is_joined_is_copied(device: str) -> None:
    b = Builder(dtype="int8", seed=3)
    x = b.input((1, 32, 32, 16))
    b.output(b.conv(b.concat([b.conv(x, 16)], axis=1), 8))
    names, ours, theirs = operator_cycles(device, b.finish())
    row = list(names).index("CONCATENATION")
    assert ours[row] == pytest.approx(theirs[row], rel=0.01)


def test_softmaxes_that_make_16_bits_of_8_go_to_the_cpu_of_u85() -> None:
    b = Builder(dtype="int8", seed=3)
    b.output(b.softmax(b.conv(b.input((1, 4, 4, 8)), 10)))
    model = ModelT.InitFromObj(Model.GetRootAs(b.finish(), 0))
    result = model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]]
    result.type, result.quantization.zeroPoint, result.quantization.scale = (
        TensorType.INT16,
        [-32768],
        [2**-16],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    data = bytes(builder.Output())
    for device, done in (("ethos-u85-256", False), ("ethos-u55-128", True)):
        names, ours, theirs = operator_cycles(device, data)
        row = list(names).index("SOFTMAX")
        assert (ours[row] > 0, theirs.get(row, 0) > 0) == (done, done)
