"""Devices added from a handful of measurements: Vela's labels for a device the predictor never saw."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from api.cli.main import run
from dataset.spaces import get_space
from dataset.spaces.known import known_space
from perfsage.device import Device
from perfsage.errors import InvalidInputError, PredictorError
from perfsage.graph import read_graph
from perfsage.metrics import Metric
from perfsage.prediction import Interval, Prediction, Unavailable
from perfsage.predictor import Predictor, load_predictor
from perfsage.training.adapt import AdaptReport, Measured, adapt
from perfsage.training.adapt_fit import half_width, non_negative
from profilers.profiler import Model, Plan
from profilers.registry import describe, open_profiler
from profilers.workers import WorkerPool

NEW = "ethos-u65-256"
LEARNED, JUDGED = 20, 12


def build(seed: int) -> bytes:
    return get_space("kws").build(1000 + seed, "int8").data


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Measured]]:
    folder = tmp_path_factory.mktemp("models")
    models, paths = [], []
    for seed in range(LEARNED + JUDGED):
        paths.append(folder / f"{seed}.tflite")
        paths[-1].write_bytes(build(seed))
        models.append(Model(build(seed), read_graph(build(seed))))
    definitions = describe(NEW).metrics
    with WorkerPool(1) as pool:
        profiler = open_profiler(NEW, pool=pool)
        outcomes = list(profiler.profile(models, Plan()))
        profiler.close()
    made = []
    for model, path, outcome in zip(models, paths, outcomes, strict=True):
        values = {
            m.metric: m.value
            for m in outcome.measurements
            if m.operator is None and m.value and definitions.get(m.metric) == m.definition
        }
        made.append((path, Measured(model.graph, values)))
    return made


@pytest.fixture(scope="module")
def table(labelled: list[tuple[Path, Measured]]) -> Path:
    path = labelled[0][0].parent / "measured.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "latency_ms", "peak_memory_bytes", "remark"])
        for model, measured in labelled[:LEARNED]:
            values = [measured.values[m] for m in (Metric.LATENCY_MS, Metric.PEAK_MEMORY_BYTES)]
            writer.writerow([model.name, *values, "from the simulator"])
    return path


@pytest.fixture(scope="module")
def adapted(predictor: Predictor, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    output = tmp_path_factory.mktemp("adapted") / "with-u65"
    arguments = ["adapt", "--predictor", str(predictor.folder), "--device", "my-u65", "--kind", "npu"]
    started = time.monotonic()
    assert run([*arguments, "--measurements", str(table), "--output", str(output), "--json"]) == 0
    assert time.monotonic() - started < 60
    return load_predictor(output)


def report(predictor: Predictor, items: list[tuple[Path, Measured]], device: str) -> list[Prediction]:
    return list(predictor.predict([path for path, _ in items], [device]).predictions)


def test_a_new_device_is_predicted_from_twenty_networks(
    adapted: Predictor, labelled: list[tuple[Path, Measured]]
) -> None:
    judged = labelled[LEARNED:]
    for metric in (Metric.LATENCY_MS, Metric.PEAK_MEMORY_BYTES):
        values = [p.metrics[metric] for p in report(adapted, judged, "my-u65")]
        truths = [measured.values[metric] for _, measured in judged]
        assert all(isinstance(value, Interval) and value.low <= value.value <= value.high for value in values)
        errors = [abs(v.value / t - 1) for v, t in zip(values, truths, strict=True)]  # type: ignore[union-attr]
        assert np.median(errors) < 0.3  # the predictor of these tests learned for seconds: 14 % are usual
        inside = [v.low <= t <= v.high for v, t in zip(values, truths, strict=True)]  # type: ignore[union-attr]
        assert np.mean(inside) >= 0.7  # 12 networks: 90 % gives less than 70 % once in a hundred times


def test_what_was_not_measured_is_unavailable_with_its_reason(
    adapted: Predictor, labelled: list[tuple[Path, Measured]]
) -> None:
    answer = report(adapted, labelled[:1], "my-u65")[0].metrics[Metric.ENERGY_MJ]
    assert isinstance(answer, Unavailable)
    assert "energy_mj" in answer.reason


def test_old_devices_answer_as_before(
    predictor: Predictor, adapted: Predictor, labelled: list[tuple[Path, Measured]]
) -> None:
    paths = [path for path, _ in labelled[:3]]
    names = [device.name for device in predictor.devices]
    before, after = predictor.predict(paths, names), adapted.predict(paths, names)
    assert before.predictions == after.predictions
    assert [device.name for device in adapted.devices] == [*names, "my-u65"]
    mixed = adapted.predict(paths, ["my-u65", names[0]]).predictions
    assert [p.device for p in mixed] == ["my-u65", names[0]] * 3
    assert mixed[1] == before.predictions[0]


def test_operators_add_up_to_the_latency(adapted: Predictor, labelled: list[tuple[Path, Measured]]) -> None:
    prediction = report(adapted, labelled[-1:], "my-u65")[0]
    latency = prediction.metrics[Metric.LATENCY_MS]
    assert isinstance(latency, Interval)
    assert len(prediction.operators) == prediction.model.operators
    assert math.isclose(sum(o.latency_ms for o in prediction.operators), latency.value, rel_tol=1e-9)
    assert all(operator.latency_ms >= 0 for operator in prediction.operators)


def test_operators_never_measured_are_flagged_and_widen_the_interval(adapted: Predictor) -> None:
    other = get_space("detection").build(1, "int8").data
    prediction = adapted.predict(other, ["my-u65"]).predictions[0]
    latency = prediction.metrics[Metric.LATENCY_MS]
    assert not prediction.in_distribution
    assert any("never measured" in warning for warning in prediction.warnings)
    assert isinstance(latency, Interval)
    assert latency.value > 0
    usual = adapted.adapted[0].metrics[Metric.LATENCY_MS].half_width
    assert math.log(latency.high / latency.value) > usual


def test_cells_of_nasbench201_follow_a_law_that_sums_over_operators(
    predictor: Predictor, tmp_path: Path
) -> None:
    """A made-up device, so that the truth is known: 20 cells must give the others within 10 %."""
    space = known_space("nasbench201")
    graphs = [read_graph(space.build(seed, "float32").data) for seed in range(40)]
    from perfsage.features import extract_features
    from perfsage.models.adapted_columns import operator_columns

    def law(graph) -> float:
        columns = operator_columns(extract_features(graph, weights=False))
        pools = np.array(["POOL" in kind for kind in columns.kinds])
        terms = columns.sum_terms()
        return 0.5 + 1e-7 * terms[1] + 0.05 * terms[0] + 0.2 * pools.sum()

    graphs = [graph for graph in graphs if any(True for _ in graph.operators)]
    measured = [Measured(graph, {Metric.LATENCY_MS: law(graph)}) for graph in graphs[:20]]
    device = Device(name="law", kind="phone", description="made up", metrics={})
    done = adapt(predictor, device, measured, tmp_path / "law")
    loaded = load_predictor(done.output_dir)
    answers = loaded.predict(graphs[20:], ["law"], ["latency_ms"]).predictions
    values = [answer.metrics[Metric.LATENCY_MS].value for answer in answers]  # type: ignore[union-attr]
    errors = np.abs(np.array(values) / [law(graph) for graph in graphs[20:]] - 1)
    assert (errors < 0.10).mean() >= 0.9


def measured_law(labelled: list[tuple[Path, Measured]], count: int) -> list[Measured]:
    return [measured for _, measured in labelled[:count]]


def adapt_again(predictor: Predictor, measured: list[Measured], folder: Path, name: str) -> AdaptReport:
    return adapt(predictor, Device(name=name, kind="npu", description="", metrics={}), measured, folder)


def test_five_networks_are_enough_and_four_are_not(
    predictor: Predictor, labelled: list[tuple[Path, Measured]], tmp_path: Path
) -> None:
    done = adapt_again(predictor, measured_law(labelled, 5), tmp_path / "five", "five")
    assert {score.n for score in done.scores} == {5}
    with pytest.raises(InvalidInputError, match="too few"):
        adapt_again(predictor, measured_law(labelled, 4), tmp_path / "four", "four")
    assert not (tmp_path / "four").exists()


def test_a_second_device_joins_the_first_and_a_repeated_one_replaces_it(
    adapted: Predictor, labelled: list[tuple[Path, Measured]], tmp_path: Path
) -> None:
    adapt_again(adapted, measured_law(labelled, 8), tmp_path / "two", "second")
    two = load_predictor(tmp_path / "two")
    assert [entry.device.name for entry in two.manifest.adapted_devices] == ["my-u65", "second"]
    assert report(two, labelled[:1], "my-u65") == report(adapted, labelled[:1], "my-u65")
    adapt_again(two, measured_law(labelled, 6), tmp_path / "three", "my-u65")
    names = [device.name for device in load_predictor(tmp_path / "three").devices]
    assert names.count("my-u65") == 1


def test_names_and_folders_that_are_taken_are_refused(
    adapted: Predictor, labelled: list[tuple[Path, Measured]], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="trained for"):
        adapt_again(adapted, measured_law(labelled, 6), tmp_path / "x", adapted.devices[0].name)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInputError, match="not empty"):
        adapt_again(adapted, measured_law(labelled, 6), tmp_path, "y")


def test_memory_that_equals_a_total_is_taken_as_exact(
    predictor: Predictor, labelled: list[tuple[Path, Measured]], tmp_path: Path
) -> None:
    graphs = [measured.graph for _, measured in labelled]
    sized = [Measured(graph, {Metric.STORAGE_BYTES: float(graph.file_bytes)}) for graph in graphs[:8]]
    done = adapt_again(predictor, sized, tmp_path / "flash", "flash")
    assert done.scores[0].exact == "file_bytes"
    answer = load_predictor(done.output_dir).predict(graphs[-1], ["flash"]).predictions[0]
    value = answer.metrics[Metric.STORAGE_BYTES]
    assert isinstance(value, Interval)
    assert value.low == value.value == value.high == graphs[-1].file_bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns none"),
        ("model,watts\na.tflite,1\n", "has the columns"),
        ("model,latency_ms,latency_ms\na,1,2\n", "twice"),
        ("model,latency_ms\n,1\n", "no model"),
        ("model,latency_ms\n0.tflite,1,2\n", "too many cells"),
        ("model,latency_ms\n0.tflite,fast\n", "not a positive number"),
        ("model,latency_ms\n0.tflite,nan\n", "not a positive number"),
        ("model,latency_ms\n0.tflite,0\n", "not a positive number"),
        ("model,latency_ms\nabsent.tflite,1\n", "cannot be read"),
        ("model,latency_ms\nbad.csv,1\n", "file"),
        ("model,latency_ms\n0.tflite,1\n", "too few"),
        ("model,latency_ms\n" + "0.tflite,1\n" * 20, "too few"),
        ('model,latency_ms\n"0.tflite,1\n', "cannot be read"),
    ],
)
def test_tables_that_cannot_be_used_say_why(
    text: str,
    message: str,
    predictor: Predictor,
    labelled: list[tuple[Path, Measured]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = labelled[0][0].parent / "bad.csv"
    path.write_text(text)
    output = path.parent / "never"
    arguments = ["--predictor", str(predictor.folder), "--measurements", str(path), "--output", str(output)]
    assert run(["adapt", "--device", "d", *arguments]) in (10, 12)
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not output.exists()


def test_kinds_and_names_are_checked(predictor: Predictor, table: Path, tmp_path: Path) -> None:
    common = ["--predictor", str(predictor.folder), "--measurements", str(table), "-o", str(tmp_path / "o")]
    assert run(["adapt", "--device", "d", "--kind", "toaster", *common]) == 12
    assert run(["adapt", "--device", "\x1b[2J", *common]) == 12


def test_damaged_arrays_are_refused(adapted: Predictor, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(adapted.folder, folder)
    with np.load(folder / "adapted.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    for change in (
        {"0/latency_ms/term_rates": np.ones(3)},
        {"0/latency_ms/constant": np.array(np.nan)},
        {"0/latency_ms/kinds": np.array(["CONV_2D"])},
    ):
        np.savez_compressed(folder / "adapted.npz", allow_pickle=False, **arrays | change)
        manifest = json.loads((folder / "manifest.json").read_text())
        digest = hashlib.sha256((folder / "adapted.npz").read_bytes()).hexdigest()
        manifest["files"]["adapted.npz"] = digest
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(PredictorError, match="damaged"):
            load_predictor(folder)


def test_rates_are_never_negative_and_recover_a_positive_law() -> None:
    random = np.random.default_rng(0)
    columns = random.uniform(1, 10, (30, 4))
    rates = np.array([0.5, 0.0, 2.0, 1.0])
    found = non_negative(columns, columns @ rates)
    assert (found >= 0).all()
    assert np.allclose(columns @ found, columns @ rates, rtol=0.01)


def test_few_errors_widen_the_interval_instead_of_promising_too_much() -> None:
    errors = np.array([0.01, -0.02, 0.015, 0.01, -0.01])
    assert half_width(errors, 0.9) > np.abs(errors).max()
    many = np.linspace(-1, 1, 99)
    assert half_width(many, 0.9) == pytest.approx(np.sort(np.abs(many))[89])


def test_a_failed_measurement_does_not_spoil_the_others() -> None:
    random = np.random.default_rng(1)
    columns = np.concatenate([np.ones((20, 1)), random.uniform(1, 10, (20, 3))], axis=1)
    truth = columns @ [1.0, 0.5, 2.0, 1.0]
    for wrong in (0.001, 1000.0):
        values = truth * np.where(np.arange(20) == 7, wrong, 1.0)
        assert np.allclose(columns @ non_negative(columns, values), truth, rtol=0.02)
