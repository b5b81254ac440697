"""Budgets, searches and both libraries, over a real predictor and real untrained networks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from dataset.builder import Builder
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.metrics import Metric
from perfsage.nas import Budget, Costs, Search, evolve, parse_budget
from perfsage.nas.naswot import naswot
from perfsage.prediction import Interval, Unavailable
from perfsage.predictor import Predictor, load_predictor

MEMORY = ("tflm", Metric.PEAK_MEMORY_BYTES)
LATENCY = ("ethos-u55-128", Metric.LATENCY_MS)
CHOICES = {"width": (8, 16, 32, 64), "layers": (1, 2, 3), "kernel": (1, 3)}


def build(choice: Any, dtype: Any = "int8") -> bytes:
    b = Builder(dtype=dtype, seed=1)
    x = b.input((1, 16, 16, 3))
    for _ in range(choice["layers"]):
        x = b.conv(x, choice["width"], kernel=choice["kernel"], activation="relu")
    b.output(b.fully_connected(b.mean(x), 10))
    return b.finish()


def search(costs: Costs, calls: list[int] | None = None) -> Search:
    def score(choice: Any) -> float:
        if calls is not None:
            calls.append(1)
        return float(choice["width"] * choice["layers"] * choice["kernel"])

    return Search(choices=CHOICES, model=build, score=score, costs=costs)


@pytest.fixture(scope="module")
def loaded(predictor: Path) -> Predictor:
    return load_predictor(predictor)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("tflm:peak_memory_bytes<=256KiB", 262144.0),
        ("a.b-c/d:latency_ms <= 1.5s", 1500.0),
        ("x:energy_mj<=20uJ", 0.02),
        ("x:storage_bytes<=1e6", 1e6),
    ],
)
def test_budgets_are_read_with_their_units(text: str, limit: float) -> None:
    assert parse_budget(text).limit == pytest.approx(limit)


@pytest.mark.parametrize(
    "text",
    ["", "tflm", "tflm:latency_ms<=", "tflm:latency_ms<=5KiB", "tflm:latency_ms<=-1", "t:latency_ms<=1e999"],
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_budget(text)


def test_a_cautious_budget_holds_for_the_upper_end() -> None:
    found = Interval(8.0, 6.0, 12.0, 0.9)
    assert Budget("d", Metric.LATENCY_MS, 10.0).excess(found) == pytest.approx(-0.2)
    assert Budget("d", Metric.LATENCY_MS, 10.0, cautious=True).excess(found) == pytest.approx(0.2)
    assert Budget("d", Metric.LATENCY_MS, 10.0).excess(Unavailable("no")) == math.inf


def test_a_device_that_nobody_knows_is_refused(loaded: Predictor) -> None:
    with pytest.raises(UnknownNameError, match="toaster"):
        Costs(loaded, [parse_budget("toaster:latency_ms<=1")])


def test_evolution_finds_the_best_within_the_budget(loaded: Predictor) -> None:
    budget = parse_budget("tflm:peak_memory_bytes<=24KiB")
    calls: list[int] = []
    looking = search(Costs(loaded, [budget]), calls)
    found = evolve(looking, generations=6, population=8, seed=1)
    every = [(w, n, k) for w in range(4) for n in range(3) for k in range(2)]
    trials = looking.evaluate(every)
    within = [trial for trial in trials if trial.cost.is_within]
    assert 0 < len(within) < len(trials), "the budget divides the space"
    assert found.best is not None
    assert found.best.score == max(trial.score for trial in within if trial.score is not None)
    assert len(calls) == len(within), "what is beyond the budget is not scored, and nothing is scored twice"


def test_without_a_candidate_there_is_no_best(loaded: Predictor) -> None:
    looking = search(Costs(loaded, [parse_budget("tflm:peak_memory_bytes<=1B")]))
    found = evolve(looking, generations=1, population=4)
    assert found.best is None
    assert found.population[0].excess <= found.population[-1].excess


def test_the_same_seed_gives_the_same_search(loaded: Predictor) -> None:
    runs = [
        evolve(
            search(Costs(loaded, [parse_budget("tflm:peak_memory_bytes<=24KiB")])),
            generations=2,
            population=4,
        )
        for _ in range(2)
    ]
    assert [t.genome for t in runs[0].population] == [t.genome for t in runs[1].population]


def test_optuna_keeps_the_budgets(loaded: Predictor) -> None:
    optuna = pytest.importorskip("optuna")
    from perfsage.nas.optuna import optimise, within_budgets

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    looking = search(Costs(loaded, [parse_budget("tflm:peak_memory_bytes<=24KiB")], also=[LATENCY]))
    study = optimise(looking, objectives=[LATENCY], trials=24, batch=8)
    front = within_budgets(study)
    assert len(study.trials) == 24 and front
    for trial in front:
        [found] = looking.evaluate([tuple(trial.params[name] for name in CHOICES)])
        assert found.cost.is_within
        assert trial.values == [found.score, found.cost.value(*LATENCY)]


def test_pymoo_keeps_the_budgets(loaded: Predictor) -> None:
    pytest.importorskip("pymoo")
    import numpy as np

    from perfsage.nas.pymoo import SearchProblem

    looking = search(Costs(loaded, [parse_budget("tflm:peak_memory_bytes<=24KiB")], also=[LATENCY]))
    problem = SearchProblem(looking, objectives=[LATENCY])
    solutions = np.asarray([[0, 0, 0], [3, 2, 1], [1, 1, 1]])
    out = problem.evaluate(solutions, return_as_dictionary=True)
    trials = looking.evaluate(problem.genomes(solutions))
    assert out["F"].shape == (3, 2) and out["G"].shape == (3, 1)
    assert (out["G"][:, 0] <= 0).tolist() == [trial.cost.is_within for trial in trials]
    assert out["F"][:, 1].tolist() == [trial.cost.value(*LATENCY) for trial in trials]


def test_naswot_prefers_a_cell_that_learns() -> None:
    from dataset.spaces.known import known_space

    def score(cell: str) -> float:
        return naswot(known_space("nasbench201").parse(cell).build("float32").data, inputs=8)

    # The benchmark's most accurate cell on CIFAR-10, and one without a single convolution.
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    poor = "|avg_pool_3x3~0|+|avg_pool_3x3~0|none~1|+|avg_pool_3x3~0|none~1|none~2|"
    assert score(best) > score(poor)


def test_naswot_says_what_it_cannot_score() -> None:
    b = Builder(dtype="float32")
    b.output(b.fully_connected(b.mean(b.input((1, 4, 4, 2))), 3))
    with pytest.raises(InvalidInputError, match="no ReLU"):
        naswot(b.finish())
    with pytest.raises(InvalidInputError, match="float32"):
        naswot(build({"width": 8, "layers": 1, "kernel": 3}))
