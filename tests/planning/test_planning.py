"""Cuts, splits and exits of real networks, priced by a trained predictor."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.cli.main import run
from dataset.builder import Builder
from dataset.zoo import build_network
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.graph import read_graph
from perfsage.metrics import Metric
from perfsage.planning import Link, find_cuts, plan_exits, plan_split
from perfsage.prediction import Interval
from perfsage.predictor import Predictor, load_predictor
from tests.api.service import serving

pytestmark = pytest.mark.xdist_group("trained")
NPU = "ethos-u55-128"


@pytest.fixture(scope="session")
def loaded(predictor: Path) -> Predictor:
    return load_predictor(predictor)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planning") / "ic.tflite"
    path.write_bytes(build_network("mlperf-tiny-ic"))
    return path


def test_a_shortcut_crosses_the_cuts_beside_it() -> None:
    b = Builder(dtype="int8")
    x = b.conv(b.input((1, 8, 8, 4)), 4)
    b.output(b.add(x, b.conv(x, 4)))
    cuts = find_cuts(read_graph(b.finish()))
    image = 8 * 8 * 4
    assert [cut.tensor_bytes for cut in cuts] == [image, image, 2 * image, image]
    assert [len(cut.tensors) for cut in cuts] == [1, 1, 2, 1]


def test_an_output_that_is_ready_early_crosses_every_later_cut() -> None:
    b = Builder(dtype="float32")
    x = b.relu(b.input((1, 10)))
    b.output(x)
    b.output(b.tanh(b.logistic(x)))
    cuts = find_cuts(read_graph(b.finish()))
    assert [cut.elements for cut in cuts] == [10, 10, 20, 20]


def test_cuts_begin_with_the_inputs_and_end_with_the_outputs(model: Path) -> None:
    graph = read_graph(model)
    cuts = find_cuts(graph)
    assert len(cuts) == len(graph.subgraphs[0].operators) + 1
    assert cuts[0].tensors == graph.subgraphs[0].inputs
    assert cuts[-1].tensors == graph.subgraphs[0].outputs


def test_a_split_adds_up(loaded: Predictor, model: Path) -> None:
    link = Link(bandwidth_mbit_s=8, latency_ms=2, nj_per_byte=1000)
    plan = plan_split(loaded, str(model), device=NPU, server=NPU, link=link)
    [prediction] = loaded.predict(str(model), devices=[NPU]).predictions
    latency, energy = prediction.metrics[Metric.LATENCY_MS], prediction.metrics[Metric.ENERGY_MJ]
    assert isinstance(latency, Interval) and isinstance(energy, Interval)
    first, last = plan.splits[0], plan.splits[-1]
    assert first.sent_bytes == 32 * 32 * 3
    assert first.transfer_ms == pytest.approx(2 + 32 * 32 * 3 / 1000)
    assert first.transfer_mj == pytest.approx(32 * 32 * 3 * 1e-3)
    assert (first.device_ms, last.sent_bytes, last.transfer_ms, last.server_ms) == (0, 0, 0, 0)
    assert last.device_ms == pytest.approx(latency.value)
    assert last.energy_mj == pytest.approx(energy.value)
    for split in plan.splits:
        assert split.device_ms + split.server_ms == pytest.approx(latency.value)
    assert plan.best is min(plan.splits, key=lambda split: split.latency_ms)


def test_the_link_decides_where_to_cut(loaded: Predictor, model: Path) -> None:
    slow = plan_split(loaded, str(model), device=NPU, server=NPU, link=Link(bandwidth_mbit_s=0.01))
    assert slow.best is slow.splits[-1]
    energy = plan_split(
        loaded, str(model), device=NPU, server=NPU, link=Link(bandwidth_mbit_s=1e6), objective="energy"
    )
    assert energy.best is energy.splits[0]


def test_quantized_transfer_sends_a_quarter_of_float32(loaded: Predictor) -> None:
    link = Link(bandwidth_mbit_s=1, transfer_bits=8)
    for dtype, share in (("float32", 4), ("int8", 1)):
        [cut, *_] = find_cuts(read_graph(build_network("mlperf-tiny-kws", dtype)))  # type: ignore[arg-type]
        assert link.sent_bytes(cut) == cut.tensor_bytes / share == 490


def test_exits_are_images_and_their_costs_grow(loaded: Predictor, model: Path) -> None:
    plan = plan_exits(loaded, str(model), device=NPU)
    graph = read_graph(model)
    assert plan.classes == 10
    assert len(plan.exits) >= 4
    for earlier, later in zip(plan.exits, plan.exits[1:], strict=False):
        assert earlier.latency_ms <= later.latency_ms
        assert earlier.macs <= later.macs
    for candidate in plan.exits:
        assert graph.subgraphs[0].tensors[candidate.tensor].shape == candidate.shape
        assert candidate.head_parameters == (candidate.shape[-1] + 1) * 10
        assert 0 <= candidate.saved <= 1


def test_a_policy_has_a_mean_latency(loaded: Predictor, model: Path) -> None:
    plan = plan_exits(loaded, str(model), device=NPU)
    place = plan.exits[0]
    half = plan.expected_latency_ms([(place.after, 0.5)])
    assert half == pytest.approx(0.5 * place.latency_ms + 0.5 * plan.latency_ms)
    with pytest.raises(InvalidInputError, match="no exit after operator 99"):
        plan.expected_latency_ms([(99, 0.5)])
    with pytest.raises(InvalidInputError, match="shares of a policy"):
        plan.expected_latency_ms([(place.after, 1.5)])


def test_what_cannot_be_planned(loaded: Predictor, model: Path) -> None:
    with pytest.raises(InvalidInputError, match="bandwidth of 0"):
        Link(bandwidth_mbit_s=0)
    with pytest.raises(InvalidInputError, match="7 bits"):
        Link(bandwidth_mbit_s=1, transfer_bits=7)
    with pytest.raises(UnknownNameError, match="abacus"):
        plan_exits(loaded, str(model), device="abacus")
    with pytest.raises(InvalidInputError, match="latency on tflm cannot be predicted"):
        plan_exits(loaded, str(model), device="tflm")


def test_commands(
    predictor: Path, loaded: Predictor, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    common = [str(model), "--device", NPU, "--predictor", str(predictor)]
    split = ["split", *common, "--server", NPU, "--bandwidth", "20", "--latency", "5"]
    assert run([*split, "--json"]) == 0
    plan = plan_split(
        loaded, str(model), device=NPU, server=NPU, link=Link(bandwidth_mbit_s=20, latency_ms=5)
    )
    assert json.loads(capsys.readouterr().out) == plan.to_dict()
    assert run(split) == 0
    assert "device alone" in capsys.readouterr().out
    assert run(["exits", *common, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == plan_exits(loaded, str(model), device=NPU).to_dict()
    assert run(["exits", *common]) == 0
    assert "head parameters" in capsys.readouterr().out


def test_service(predictor: Path, loaded: Predictor, model: Path) -> None:
    body = model.read_bytes()
    headers = {"content-type": "application/octet-stream"}
    with serving(predictor) as client:

        def post(path: str, **params: object) -> httpx.Response:
            return client.post(path, content=body, headers=headers, params=params)  # type: ignore[arg-type]

        answer = post("/v1/splits", device=NPU, server=NPU, bandwidth_mbit_s=20, latency_ms=5)
        plan = plan_split(
            loaded, str(model), device=NPU, server=NPU, link=Link(bandwidth_mbit_s=20, latency_ms=5)
        )
        assert answer.json() == plan.to_dict()
        answer = post("/v1/exits", device=NPU, classes=5)
        assert answer.json() == plan_exits(loaded, str(model), device=NPU, classes=5).to_dict()
        assert post("/v1/exits", device="abacus").status_code == 422
        assert post("/v1/splits", device=NPU, server=NPU, bandwidth_mbit_s=-1).status_code == 422


def test_the_example_in_the_documentation_runs(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "studies.md"
    example = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(model.parent)
    exec(example.replace("model.tflite", model.name), {})
    after, latency_ms = capsys.readouterr().out.split()
    assert int(after) >= 0 and float(latency_ms) > 0
