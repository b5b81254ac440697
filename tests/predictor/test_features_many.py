"""Features of many graphs at once are those of each alone, to the last bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

import numpy as np
import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from perfsage.errors import InvalidInputError, PerfsageError
from perfsage.features import PHYSICAL_COLUMNS, GraphFeatures, extract_features, extract_many
from perfsage.features.arrays import ACCELERATOR_COLUMNS
from perfsage.features.npu import cycles
from perfsage.features.npu.asked import REFERENCES
from perfsage.graph import Graph, read_graph, strip_weights
from perfsage.graph.joining import join
from perfsage.graph.lifetimes import NEVER, lifetimes
from perfsage.predictor import NamedGraph, Predictor, graph_subjects, load_predictor, read_subject
from tests.graph import reader_models
from tests.graph.costs_models import Op, Part, T, model_bytes
from tests.graph.test_costs import CASES
from tests.predictor.conftest import build

SPACES = ("classification", "detection", "kws", "super_resolution")


def assert_same(alone: GraphFeatures | PerfsageError, together: GraphFeatures | PerfsageError) -> None:
    if isinstance(alone, PerfsageError):
        assert isinstance(together, type(alone)) and str(together) == str(alone)
        return
    assert isinstance(together, GraphFeatures)
    for field in fields(GraphFeatures):
        assert np.array_equal(getattr(alone, field.name), getattr(together, field.name)), field.name


def test_a_wide_convolution_beside_a_wider_one_costs_what_it_costs_alone() -> None:
    """What is tried must not depend on what else is looked at: what was found first is remembered."""
    graphs = []
    for channels, into in ((1200, 64), (352, 184)):
        b = Builder(dtype="int8", seed=3)
        b.output(b.conv(b.input((1, 4, 4, into)), channels))
        graphs.append(read_graph(b.finish()))
    cycles._known.clear()
    alone = extract_features(graphs[1])
    cycles._known.clear()
    assert_same(alone, extract_many(graphs)[1])


def test_cascades_end_with_their_graph() -> None:
    """Both have cascades on U85-1024, and the second one's last result becomes a part of another tensor."""
    space = get_space("classification")
    graphs = [read_graph(space.build(seed, "int8").data) for seed in (839, 48)]
    for graph, together in zip(graphs, extract_many(graphs), strict=True):
        assert_same(extract_features(graph), together)


def check(graphs: Iterable[Graph], **options: bool) -> None:
    graphs = list(graphs)
    for graph, together in zip(graphs, extract_many(graphs, **options), strict=True):
        assert_same(extract_many([graph], **options)[0], together)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_networks_of_every_space(dtype: str) -> None:
    files = [get_space(space).build(seed, dtype).data for space in SPACES for seed in range(4)]
    check(read_graph(data) for data in files)
    check(read_graph(strip_weights(data)) for data in reversed(files))
    check((read_graph(data) for data in files[:6]), weights=False, arena=False)


def test_every_family_of_operators() -> None:
    check(graph for graph, _ in CASES.values())


def test_accelerators_that_nobody_asks_for_change_nothing() -> None:
    """Large images, so that limits of SRAM, which the others have, matter."""
    graphs = [
        read_graph(get_space(space).build(seed, "int8").data) for space in SPACES for seed in range(40, 48)
    ]
    own = [name not in ACCELERATOR_COLUMNS or name.endswith(REFERENCES) for name in PHYSICAL_COLUMNS]
    asked = [name.endswith("u85_512") for name in PHYSICAL_COLUMNS]
    for every, some, more in zip(
        extract_many(graphs),
        extract_many(graphs, accelerators=()),
        extract_many(graphs, accelerators=["u85_512"]),
        strict=True,
    ):
        assert np.array_equal(every.node, some.node) and np.array_equal(every.totals, some.totals)
        assert np.array_equal(every.physical[:, own], some.physical[:, own])
        assert np.isnan(some.physical[:, np.logical_not(own)]).all()
        assert np.array_equal(every.physical[:, asked], more.physical[:, asked])


def test_a_predictor_asks_for_what_its_devices_need(predictor: Predictor) -> None:
    models = [build(seed) for seed in range(4)]
    assert predictor.accelerators() == ["u55_128"] and not predictor.accelerators(["tflm"])
    asked = predictor.predict(models).predictions
    assert asked == predictor.predict_subjects([read_subject(model) for model in models])


def test_accelerators_that_there_are_not_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"'u85_77'.*") as caught:
        extract_many([read_graph(build(1))], accelerators=["u55_128", "u85_77"])
    assert "u85_2048" in str(caught.value.hint)


def test_features_that_lack_an_estimate_are_refused() -> None:
    shipped = load_predictor()
    named = NamedGraph(read_graph(build(1)))
    [subject] = graph_subjects([named], accelerators=shipped.accelerators(["ethos-u55-128"]))
    assert not isinstance(subject, PerfsageError)
    assert len(shipped.predict_subjects([subject], ["ethos-u55-128", "host-cpu"])) == 2
    with pytest.raises(InvalidInputError, match="lack an estimate for ethos-u85-2048"):
        shipped.predict_subjects([read_subject(build(2)), subject], ["ethos-u55-128", "ethos-u85-2048"])


def test_answers_for_some_devices_are_those_among_all() -> None:
    shipped, models = load_predictor(), [build(seed) for seed in range(3)]
    names = ["ethos-u85-2048", "host-cpu"]
    assert shipped.accelerators(names) == ["u85_2048"]
    every = [p for p in shipped.predict(models).predictions if p.device in names]
    assert sorted(every, key=str) == sorted(shipped.predict(models, names).predictions, key=str)


def test_subgraphs_variables_and_what_is_left_out() -> None:
    control_flow = read_graph(reader_models.pack(reader_models.control_flow()))
    unusual = read_graph(reader_models.pack(reader_models.unusual()))
    check([control_flow, read_graph(build(3)), unusual, control_flow, unusual])


def test_lives_stay_within_their_own_graph() -> None:
    tensors = [T([4]), T([4]), T([4]), T([4], variable=True)]
    operators = [Op("ABS", [0], [2]), Op("NEG", [2], [1])]
    # Tensor 1 is an output that is also an input; tensor 0 of the second graph is used by nobody.
    graph = read_graph(model_bytes([Part(tensors, operators, [0], [1])]))
    unused = read_graph(model_bytes([Part(tensors, [Op("ABS", [2], [1])], [0, 2], [1])]))
    parts = [graph.subgraphs[0], unused.subgraphs[0], graph.subgraphs[0]]
    alone, joined = [lifetimes(part) for part in parts], lifetimes(join(parts))
    starts = [0, 2, 3]
    for name in ("first", "last"):
        wanted = [
            np.where(getattr(lives, name) == NEVER, NEVER, getattr(lives, name) + start)
            for lives, start in zip(alone, starts, strict=True)
        ]
        assert np.array_equal(getattr(joined, name), np.concatenate(wanted))
    assert np.array_equal(joined.live_bytes, np.concatenate([lives.live_bytes for lives in alone]))


def test_one_bad_graph_fails_alone() -> None:
    empty = read_graph(model_bytes([Part([T([1])], [], [0], [0])]))
    first, bad, last = extract_many([read_graph(build(1)), empty, read_graph(build(2))])
    assert_same(extract_features(read_graph(build(1))), first)
    assert_same(extract_features(read_graph(build(2))), last)
    assert isinstance(bad, InvalidInputError) and "no operators" in str(bad)
    named = [NamedGraph(empty, path="empty.tflite"), NamedGraph(read_graph(build(1)))]
    [refused, subject] = graph_subjects(named)
    assert isinstance(refused, InvalidInputError) and refused.where == "empty.tflite"
    assert not isinstance(subject, PerfsageError) and subject.summary.operators == first.operators


def test_no_graphs_are_no_features() -> None:
    assert extract_many([]) == []


def test_predictions_do_not_depend_on_the_company(predictor: Predictor) -> None:
    models = [build(seed) for seed in range(40)]
    together = predictor.predict(models).predictions
    per_model = len(together) // len(models)
    for place in (0, 17, 39):
        [*alone] = predictor.predict(models[place]).predictions
        for one, other in zip(alone, together[place * per_model :], strict=False):
            for metric, value in one.metrics.items():
                assert getattr(other.metrics[metric], "value", None) == pytest.approx(
                    getattr(value, "value", None), rel=1e-5
                )


@pytest.mark.parametrize("kind", ["SOFTMAX", "PAD"])
@pytest.mark.parametrize("missing", ["input", "output"])
def test_operators_without_an_input_or_an_output_are_counted(kind: str, missing: str) -> None:
    image = T((1, 8, 8, 16), type="INT8", quantized=True)
    ends = {"input": ([-1], [1]), "output": ([0], [-1])}[missing]
    graph = read_graph(model_bytes([Part([image, image], [Op(kind, *ends)], [0], [1])]))
    features = extract_features(graph)
    assert features.operators == 1
    assert np.isfinite(features.physical).all()
