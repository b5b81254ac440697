"""Every operator of the builder runs on the real LiteRT, TFLM and Vela."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tflite
from builder_operators import NOT_IN_TFLM, OPERATORS, SHAPE, network

from dataset.builder import Builder
from perfsage.errors import InvalidInputError
from perfsage.graph import read_graph

# TFLM's kernels compute these otherwise than LiteRT: RELU6 ignores that its output has a scale of its own,
# RSQRT of int8 looks up a table.
OTHER_VALUES_IN_TFLM = {"relu6", "rsqrt"}


def run_litert(data: bytes, values: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def int8_input() -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, SHAPE).astype(np.int8)


@pytest.mark.parametrize("operator", OPERATORS)
def test_float_operators_run_in_litert(operator: str) -> None:
    values = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    result = run_litert(network(operator, "float32"), values)
    assert np.isfinite(result).all()
    assert result.std() > 0


@pytest.mark.parametrize("operator", OPERATORS)
def test_int8_operators_run_in_litert_and_tflm(operator: str) -> None:
    from tflite_micro.python.tflite_micro import runtime

    data = network(operator, "int8")
    expected = run_litert(data, int8_input())
    assert expected.std() > 0
    if operator in NOT_IN_TFLM:
        return
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=1 << 19)
    interpreter.set_input(int8_input(), 0)
    interpreter.invoke()
    if operator not in OTHER_VALUES_IN_TFLM:
        np.testing.assert_allclose(interpreter.get_output(0), expected, atol=1)


VELA = """
import json, sys
from ethosu.vela import vela
for path in sys.argv[2:]:
    vela.main([path, "--accelerator-config", "ethos-u55-128", "--output-dir", sys.argv[1]])
"""


def test_int8_operators_compile_with_vela(tmp_path: Path) -> None:
    paths = []
    for operator in OPERATORS:
        paths.append(tmp_path / f"{operator}.tflite")
        paths[-1].write_bytes(network(operator, "int8"))
    out = tmp_path / "out"
    command = [sys.executable, "-c", VELA, str(out), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    compiled = {path.name.removesuffix("_vela.tflite") for path in out.glob("*_vela.tflite")}
    assert compiled == set(OPERATORS)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_buffers_are_aligned_and_offsets_in_bounds(dtype: str) -> None:
    data = network("conv", dtype)
    model = tflite.Model.GetRootAsModel(data, 0)
    assert model.Version() == 3
    assert tflite.Model.ModelBufferHasIdentifier(data, 0)
    vectors = [model.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength())]
    base = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    filled = [vector for vector in vectors if isinstance(vector, np.ndarray)]
    assert len(filled) == 2
    for vector in filled:
        assert (vector.__array_interface__["data"][0] - base) % 16 == 0


def test_weights_are_quantized_per_channel_and_biases_with_the_product_scale() -> None:
    graph = read_graph(network("conv", "int8"))
    x, weights, bias = (graph.subgraphs[0].tensors[index] for index in graph.subgraphs[0].operators[0].inputs)
    assert weights.type == "INT8" and bias.type == "INT32"
    assert weights.quantization and bias.quantization and x.quantization
    assert len(weights.quantization.scale) == weights.shape[0]
    product = np.float32(x.quantization.scale[0]) * np.asarray(weights.quantization.scale, np.float32)
    np.testing.assert_allclose(bias.quantization.scale, product, rtol=1e-6)


def test_sparsity_is_the_share_of_zero_weights() -> None:
    b = Builder(seed=1, sparsity=0.6)
    b.output(b.conv(b.input((1, 8, 8, 32)), 64))
    graph = read_graph(b.finish())
    statistics = graph.subgraphs[0].tensors[graph.subgraphs[0].operators[0].inputs[1]].statistics()
    assert statistics is not None
    assert statistics.sparsity == pytest.approx(0.6, abs=0.03)


def test_weights_look_gaussian_with_one_deviation_a_channel() -> None:
    b = Builder(dtype="float32", seed=5)
    b.output(b.conv(b.input((1, 8, 8, 64)), 32))
    graph = read_graph(b.finish())
    tensor = graph.subgraphs[0].tensors[graph.subgraphs[0].operators[0].inputs[1]]
    weights = np.frombuffer(graph.buffer(tensor.buffer), np.float32).reshape(32, -1)
    deviations = weights.std(axis=1) / np.sqrt(2 / weights.shape[1])
    assert 0.5 < deviations.min() < 0.8 < 1.2 < deviations.max() < 1.5
    normalized = (weights / weights.std(axis=1, keepdims=True)).ravel()
    assert (normalized**4).mean() == pytest.approx(3, abs=0.25)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_the_same_structure() -> None:
    assert network("conv", "int8", 1) == network("conv", "int8", 1)
    first, second = read_graph(network("conv", "float32", 1)), read_graph(network("conv", "float32", 2))
    assert first.model_id != second.model_id
    assert first.graph_id == second.graph_id


def test_weights_larger_than_the_pool_wrap_around() -> None:
    b = Builder(seed=1)
    b.output(b.fully_connected(b.input((1, 2048)), 1100))
    assert len(b.finish()) > 2048 * 1100


def test_quantize_and_dequantize_frame_an_int8_network() -> None:
    b = Builder(seed=2)
    x = b.quantize(b.input(SHAPE, dtype="float32"))
    b.output(b.dequantize(b.conv(x, 4)))
    result = run_litert(b.finish(), np.ones(SHAPE, np.float32))
    assert result.dtype == np.float32 and np.isfinite(result).all()


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda b, x: b.conv(x, 7, groups=2), "2 groups"),
        (lambda b, x: b.conv(b.reshape(x, (1, 256)), 4), "rank 4"),
        (lambda b, x: b.conv(x, 4, kernel=9, padding="valid"), "empty shape"),
        (lambda b, x: b.reshape(x, (1, 3)), "cannot become"),
        (lambda b, x: b.split(x, 3), "do not split"),
        (lambda b, x: b.add(x, b.conv(x, 5)), "do not fit"),
        (lambda b, x: b.batch_matmul(x, b.conv(x, 3)), "do not multiply"),
        (lambda b, x: b.depth_to_space(x, 3), "no multiple"),
        (lambda b, x: b.rsqrt(x), "never negative"),
        (lambda b, x: b.lstm(x, 4), "rank 3"),
        (lambda b, x: b.finish(), "needs an input, an operator"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(mistake: object, message: str) -> None:
    b = Builder()
    with pytest.raises(InvalidInputError, match=message):
        mistake(b, b.input(SHAPE))  # type: ignore[operator]


def test_unknown_dtypes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="float16"):
        Builder(dtype="float16")  # type: ignore[arg-type]


def test_architectures_are_json() -> None:
    from dataset.spaces import get_space

    architecture = get_space("kws").sample(4)
    assert json.loads(json.dumps(architecture)) == architecture
