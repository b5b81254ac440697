"""Networks built directly are those that TensorFlow's converter makes.

PERFSAGE_TENSORFLOW_PYTHON names a Python that has TensorFlow.
"""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow_python import python_with_tensorflow

from dataset.builder import Builder
from perfsage.graph import Graph, Operator, read_graph

pytestmark = pytest.mark.slow
DTYPES = ("int8", "float32")
SCRIPT = Path(__file__).parent / "tensorflow_twin.py"


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twins")
    command = [python_with_tensorflow(), str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def built(dtype: str) -> bytes:
    b = Builder(dtype=dtype, seed=1)  # type: ignore[arg-type]
    x = b.conv(b.input((1, 32, 32, 3)), 16, stride=2, activation="relu6")
    for filters in (16, 24, 24):
        y = b.depthwise(b.conv(x, 48, kernel=1, activation="relu6"), activation="relu6")
        y = b.conv(y, filters, kernel=1)
        x = b.add(x, y) if x.shape == y.shape else y
    b.output(b.softmax(b.fully_connected(b.mean(b.max_pool(x)), 10)))
    return b.finish()


def compared_inputs(operator: Operator) -> tuple[int, ...]:
    """Leave out the bias of dense layers: TensorFlow 2.21 gives it the shape (1, n), and int8 the type."""
    return operator.inputs[:2] if operator.type == "FULLY_CONNECTED" else operator.inputs


def description(graph: Graph) -> list[tuple[object, ...]]:
    tensors = graph.subgraphs[0].tensors
    return [
        (
            operator.type,
            operator.version,
            dict(operator.attributes),
            [(tensors[i].type, tensors[i].shape) for i in compared_inputs(operator)],
            [(tensors[i].type, tensors[i].shape) for i in operator.outputs],
        )
        for operator in graph.operators
    ]


def scales(graph: Graph) -> list[list[int]]:
    """The number of scales of every tensor; dense layers were quantized per tensor before TensorFlow 2.18."""
    tensors = graph.subgraphs[0].tensors
    counted = []
    for operator in graph.operators:
        inputs = operator.inputs[:1] if operator.type == "FULLY_CONNECTED" else operator.inputs
        quantizations = [tensors[index].quantization for index in inputs + operator.outputs]
        counted.append([0 if q is None else len(q.scale) for q in quantizations])
    return counted


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_versions_attributes_and_shapes_are_equal(twins: Path, dtype: str) -> None:
    theirs = read_graph((twins / f"{dtype}.tflite").read_bytes())
    assert description(read_graph(built(dtype))) == description(theirs)


def test_quantization_is_of_the_same_kind(twins: Path) -> None:
    assert scales(read_graph(built("int8"))) == scales(read_graph((twins / "int8.tflite").read_bytes()))


def test_tflm_plans_the_same_arena(twins: Path) -> None:
    from tflite_micro.python.tflite_micro import runtime

    def arena_bytes(data: bytes) -> int:
        low, high = 1 << 14, 1 << 19
        while high - low > 64:
            middle = (low + high) // 2
            try:
                runtime.Interpreter.from_bytes(data, arena_size=middle)
                high = middle
            except RuntimeError:
                low = middle
        return high

    theirs, ours = arena_bytes((twins / "int8.tflite").read_bytes()), arena_bytes(built("int8"))
    assert abs(theirs - ours) <= 256


def vela_seconds(path: Path, folder: Path) -> float:
    script = "import sys; from ethosu.vela import vela; vela.main(sys.argv[1:])"
    command = [sys.executable, "-c", script, str(path), "--accelerator-config", "ethos-u55-128"]
    subprocess.run([*command, "--output-dir", str(folder)], capture_output=True, timeout=120, check=True)
    with next(folder.glob("*_summary_*.csv")).open(newline="") as file:
        return float(next(csv.DictReader(file))["inference_time"])


def test_vela_estimates_about_the_same_latency(twins: Path, tmp_path: Path) -> None:
    path = tmp_path / "ours.tflite"
    path.write_bytes(built("int8"))
    theirs, ours = vela_seconds(twins / "int8.tflite", tmp_path / "a"), vela_seconds(path, tmp_path / "b")
    assert ours == pytest.approx(theirs, rel=0.02)


def test_both_run_in_litert(twins: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for data in ((twins / "float32.tflite").read_bytes(), built("float32")):
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        interpreter.set_tensor(detail["index"], np.ones(detail["shape"], np.float32))
        interpreter.invoke()
        result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert result.sum() == pytest.approx(1, abs=1e-4)
