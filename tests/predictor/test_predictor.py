from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import perfsage
from perfsage import Interval, Metric, Predictor, Unavailable, load_predictor
from perfsage.answers import Subject
from perfsage.errors import InvalidModelError, PredictorError, UnknownNameError
from perfsage.features import extract_features
from perfsage.graph import read_graph
from perfsage.graph.fingerprint import fingerprint
from perfsage.prediction import ModelSummary
from perfsage.training import TrainingReport
from tests.graph.costs_models import Op, Part, T, model_bytes
from tests.predictor.conftest import DEVICE_NAMES, build


def test_paths_bytes_and_graphs_answer_alike(predictor: Predictor, tmp_path: Path) -> None:
    data = build(200)
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    report = predictor.predict([path, data, read_graph(data)])
    assert [p.device for p in report.predictions] == list(DEVICE_NAMES) * 3
    assert [p.model.path for p in report.predictions[::2]] == [str(path), None, None]
    first, second, third = (p.to_dict() for p in report.predictions[::2])
    for other in (second, third):
        assert {k: v for k, v in other["model"].items() if k != "path"} == {
            k: v for k, v in first["model"].items() if k != "path"
        }
        for name, value in first["metrics"].items():
            assert other["metrics"][name].get("reason") == value.get("reason")
            assert other["metrics"][name]["value"] == pytest.approx(value["value"], rel=1e-5)


def test_an_answer_has_intervals_operators_and_reasons(predictor: Predictor) -> None:
    npu, mcu = predictor.predict(build(201)).predictions
    latency = npu.metrics[Metric.LATENCY_MS]
    assert isinstance(latency, Interval)
    assert 0 < latency.low < latency.value < latency.high
    assert latency.level == 0.9
    assert sum(operator.latency_ms for operator in npu.operators) == pytest.approx(latency.value)
    assert [operator.index for operator in npu.operators] == list(range(npu.model.operators))
    unavailable = mcu.metrics[Metric.LATENCY_MS]
    assert isinstance(unavailable, Unavailable) and unavailable.reason
    assert mcu.operators == ()


def test_shares_are_a_sequence(predictor: Predictor) -> None:
    shares = predictor.predict(build(201)).predictions[0].operators
    made = tuple(shares)
    assert shares == made and made == shares and shares != ()
    assert (shares[0], shares[-1], shares[1:3]) == (made[0], made[-1], made[1:3])


def test_stale_shape_signatures_are_said(predictor: Predictor) -> None:
    def model(signature: list[int] | None) -> bytes:
        image, kernel = [1, 8, 8, 4], [4, 1, 1, 4]
        tensors = [
            T(image, signature=signature, quantized=True),
            T(kernel, data=True, quantized=True),
            T(image, signature=signature, quantized=True),
        ]
        operator = Op("CONV_2D", [0, 1], [2], {"table": "Conv2DOptions", "strideH": 1, "strideW": 1})
        return model_bytes([Part(tensors, [operator], [0], [2])])

    plain, stale, open_ = (read_graph(model(s)) for s in (None, [1, 64, 64, 4], [-1, 8, 8, 4]))
    assert fingerprint(stale) != fingerprint(plain)
    assert stale.subgraphs[0].columns.tensor_has_stale_signature.tolist() == [True, False, True]
    report = predictor.predict([plain, stale, open_], ["ethos-u55-128", "tflm"])
    said = [any("shape signatures of 2 tensors" in w for w in p.warnings) for p in report.predictions]
    assert said == [False, False, True, False, False, False]
    assert not report.predictions[2].in_distribution
    sure, unsure, same = (p.metrics[Metric.LATENCY_MS] for p in report.predictions[::2])
    assert isinstance(sure, Interval) and isinstance(unsure, Interval) and same == sure
    assert unsure.value > 10 * sure.value
    factor = 64 * 64 / (8 * 8)
    assert unsure.high / unsure.low > factor**2
    assert any(f"differ by {factor:.1f} times" in text for text in report.predictions[2].warnings)


@pytest.mark.parametrize("signature", [[2**31 - 1] * 40, [0, *[2**31 - 1] * 39], [0] * 40])
def test_absurd_signatures_give_finite_intervals(predictor: Predictor, signature: list[int]) -> None:
    shape = [1] * 39 + [4]
    tensors = [T(shape, signature=signature, quantized=True), T(shape, quantized=True)]
    data = model_bytes([Part(tensors, [Op("RELU", [0], [1])], [0], [1])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [prediction] = predictor.predict(data, ["ethos-u55-128"]).predictions
    values = [value for value in prediction.metrics.values() if isinstance(value, Interval)]
    assert all(0 < value.low <= value.value <= value.high < math.inf for value in values)


def test_what_is_exact_has_no_width(predictor: Predictor) -> None:
    data = build(202)
    storage = predictor.predict(data, ["tflm"]).predictions[0].metrics[Metric.STORAGE_BYTES]
    assert storage == Interval(len(data), len(data), len(data), 0.9)


def test_a_float_network_is_unavailable_on_the_npu(predictor: Predictor) -> None:
    npu, mcu = predictor.predict(build(203, "float32")).predictions
    assert all(isinstance(value, Unavailable) for value in npu.metrics.values())
    assert isinstance(mcu.metrics[Metric.PEAK_MEMORY_BYTES], Interval)


def test_devices_and_metrics_can_be_chosen(predictor: Predictor) -> None:
    report = predictor.predict(build(204), ["tflm"], ["storage_bytes"])
    assert [p.device for p in report.predictions] == ["tflm"]
    assert list(report.predictions[0].metrics) == [Metric.STORAGE_BYTES]
    with pytest.raises(UnknownNameError, match="no device 'toaster'"):
        predictor.predict(build(204), ["toaster"])
    with pytest.raises(UnknownNameError, match="no metric 'weight'"):
        predictor.predict(build(204), metrics=["weight"])


def test_the_json_form_is_json(predictor: Predictor) -> None:
    report = predictor.predict(build(205)).to_dict()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["predictor"]["name"] == "small"
    assert report["predictor"]["trained_on_graphs"] > 0


def test_unseen_operators_are_flagged(predictor: Predictor) -> None:
    from dataset.builder import Builder

    b = Builder(dtype="int8")
    x = b.input((1, 64, 64, 3))
    b.output(b.resize_bilinear(x, (128, 128)))
    prediction = predictor.predict(b.finish()).predictions[0]
    assert not prediction.in_distribution
    assert any("RESIZE" in warning for warning in prediction.warnings)


def test_familiar_networks_are_not_flagged(predictor: Predictor) -> None:
    report = predictor.predict([build(seed) for seed in range(300, 320)], ["tflm"])
    familiar = sum(p.in_distribution for p in report.predictions)
    assert familiar >= 12


def test_features_can_be_given_directly(predictor: Predictor) -> None:
    graph = read_graph(build(206))
    features = extract_features(graph)
    summary = ModelSummary(None, None, graph.graph_id, features.operators, 0)
    direct = predictor.predict_subjects([Subject(summary, features)])
    report = predictor.predict(graph)
    assert [p.metrics for p in direct] == [p.metrics for p in report.predictions]


def test_a_broken_model_names_its_file(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidModelError, match=r"broken\.tflite|byte"):
        predictor.predict(path)


def test_prediction_needs_neither_torch_nor_dgl(trained: TrainingReport, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(build(207))
    code = (
        "import sys, perfsage;"
        "perfsage.load_predictor(sys.argv[1]).predict(sys.argv[2]);"
        "heavy = {'torch', 'dgl', 'sklearn', 'scipy', 'pandas', 'sqlalchemy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, str(trained.output_dir), str(tmp_path / "m.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_folder_holds_no_pickle(trained: TrainingReport) -> None:
    assert sorted(path.name for path in trained.output_dir.iterdir()) == [
        "arrays.npz",
        "manifest.json",
        "model.onnx",
    ]


@pytest.fixture
def copy(trained: TrainingReport, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.output_dir, tmp_path / "copy"))


def test_damaged_files_are_named(copy: Path) -> None:
    network = copy / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"!")
    with pytest.raises(PredictorError, match=r"differs from its hash.*model\.onnx"):
        load_predictor(copy)
    network.unlink()
    with pytest.raises(PredictorError, match=r"'model\.onnx' is missing"):
        load_predictor(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(format="else"), "not a predictor's manifest"),
        (lambda data: data.update(feature_schema="0"), "feature schema 0"),
        (lambda data: data.update(format_version=99), "format 99"),
        (lambda data: data.pop("devices"), "damaged"),
        (lambda data: data.update(devices=[{"name": "x"}]), "damaged"),
        (lambda data: data.update(files={}), "lists no"),
        (lambda data: data["files"].update({"../../etc/passwd": "0"}), "missing"),
    ],
)
def test_damaged_manifests_are_explained(copy: Path, change, message: str) -> None:
    path = copy / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(PredictorError, match=message):
        load_predictor(copy)


@pytest.mark.parametrize("text", ["", "[]", "{" * 100_000, "\0", '{"format": '])
def test_garbage_is_not_a_manifest(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(PredictorError):
        load_predictor(copy)


def test_a_missing_predictor_says_what_exists() -> None:
    with pytest.raises(PredictorError, match="no predictor 'nowhere'"):
        load_predictor("nowhere")


def test_public_names_resolve() -> None:
    for name in perfsage.__all__:
        assert getattr(perfsage, name) is not None
    assert dir(perfsage) == perfsage.__all__
    with pytest.raises(AttributeError):
        _ = perfsage.nonsense
