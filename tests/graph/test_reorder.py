"""Reordered models: less memory, the same results, never worse."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from random import Random

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from dataset.builder import Builder
from perfsage.errors import InvalidInputError
from perfsage.graph import read_graph
from perfsage.graph.memory_plan import OFFLINE_PLAN
from perfsage.graph.reorder import permute, reorder
from perfsage.graph.reorder_search import Problem, search
from tests.graph.costs_models import Op, Part, T, model_bytes
from tests.graph.memory_tflm import recorded

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"


def wide_branches(dtype: str = "int8", seed: int = 0) -> bytes:
    """Branches that each swell and shrink, written level by level, which keeps all of them alive."""
    b = Builder(dtype=dtype, seed=seed)  # type: ignore[arg-type]
    x = b.conv(b.input((1, 12, 12, 3)), 4)
    swollen = [b.conv(x, 16 + 4 * i, kernel=1) for i in range(4)]
    shrunk = [b.conv(branch, 2, kernel=1, stride=2) for branch in swollen]
    b.output(b.softmax(b.fully_connected(b.mean(b.concat(shrunk)), 6)))
    return b.finish()


def outputs(data: bytes) -> list[bytes]:
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    noise = np.random.default_rng(0)
    for entry in interpreter.get_input_details():
        values = noise.integers(-100, 100, entry["shape"]).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(entry["index"]).tobytes() for entry in interpreter.get_output_details()]


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_branches_need_less_memory_and_compute_the_same(dtype: str, tmp_path: Path) -> None:
    data = wide_branches(dtype)
    result = reorder(data)
    assert result.exact and result.after_bytes < result.before_bytes * 0.6
    assert sorted(result.order) == list(range(len(result.order))) != list(result.order)
    assert len(result.data) == len(data)
    assert sum(a != b for a, b in zip(data, result.data, strict=True)) <= 4 * len(result.order)
    assert outputs(result.data) == outputs(data)
    for name, content in (("before", data), ("after", result.data)):
        (tmp_path / name).write_bytes(content)
    arenas = recorded([tmp_path / "before", tmp_path / "after"])
    heads = [arena.head if arena else None for arena in arenas.values()]
    assert heads == [result.before_bytes, result.after_bytes]


def test_a_second_time_changes_nothing() -> None:
    once = reorder(wide_branches())
    twice = reorder(once.data)
    assert (twice.data, twice.before_bytes, twice.after_bytes) == (
        once.data,
        once.after_bytes,
        once.after_bytes,
    )


@pytest.mark.skipif(not MODELS.is_dir(), reason="the collection of real models is not here")
def test_real_models_are_never_worse() -> None:
    saved = 0
    for path in sorted(MODELS.glob("SiliconLabs*")):
        result = reorder(path.read_bytes())
        assert result.after_bytes <= result.before_bytes
        if result.after_bytes < result.before_bytes:
            saved += 1
            assert outputs(result.data) == outputs(path.read_bytes())
    assert saved >= 3


def random_problem(random: Random, operators: int) -> Problem:
    """A graph in which operator i makes tensor i and reads one to three earlier ones."""
    uses = [random.sample(range(i), random.randint(1, min(3, i))) if i else [] for i in range(operators)]
    readers = [sum(1 << j for j in range(operators) if i in uses[j]) for i in range(operators)]
    return Problem(
        uses=uses,
        makes=[[i] for i in range(operators)],
        size=[16 * random.randint(1, 40) for _ in range(operators)],
        readers=readers,
        kept=[i == operators - 1 for i in range(operators)],
        before=[sum(1 << j for j in inputs) for inputs in uses],
        extra=[16 * random.randint(0, 3) for _ in range(operators)],
        start=0,
    )


def peak(problem: Problem, order: list[int]) -> int:
    alive: set[int] = set()
    most = 0
    for position, operator in enumerate(order):
        assert set(problem.uses[operator]) <= set(order[:position])
        alive |= {operator}
        most = max(most, sum(problem.size[i] for i in alive) + problem.extra[operator])
        later = {i for j in order[position + 1 :] for i in problem.uses[j]}
        alive = {i for i in alive if i in later or problem.kept[i]}
    return most


@pytest.mark.parametrize("seed", range(25))
def test_exact_search_finds_the_best_of_all_orders(seed: int) -> None:
    problem = random_problem(Random(seed), 7)
    (order,), exact = search(problem)
    valid = [
        list(p)
        for p in permutations(range(7))
        if all(set(problem.uses[operator]) <= set(p[:i]) for i, operator in enumerate(p))
    ]
    assert exact and peak(problem, order) == min(peak(problem, other) for other in valid)


def test_a_large_graph_falls_back_to_a_bounded_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfsage.graph.reorder_search.MAX_WORK", 200_000)
    problem = random_problem(Random(1), 120)
    orders, exact = search(problem)
    assert not exact
    assert peak(problem, orders[0]) <= peak(problem, list(range(120)))


def test_state_keeps_its_order() -> None:
    """Two operators with one variable between them may not swap, though that would save memory."""
    state = T([1, 8], "FLOAT32", variable=True)
    tensors = [T([1, 4], "FLOAT32"), state, T([1, 4], "FLOAT32"), T([1, 4], "FLOAT32"), T([1, 8], "FLOAT32")]
    weights = [T([4, 4], "FLOAT32", data=True), T([4, 2], "FLOAT32", data=True), T([4], "FLOAT32", data=True)]
    options = {"table": "SVDFOptions", "rank": 1}
    operators = [
        Op("SVDF", [0, 5, 6, 7, 1], [2], options),
        Op("SVDF", [0, 5, 6, 7, 1], [3], options),
        Op("CONCATENATION", [2, 3], [4], {"table": "ConcatenationOptions", "axis": 1}),
    ]
    result = reorder(model_bytes([Part([*tensors, *weights], operators, [0], [4])]))
    assert result.order == (0, 1, 2)


def test_permute_moves_operators_only() -> None:
    data = wide_branches()
    moved = permute(data, [0, 2, 1, *range(3, 13)])
    before, after = read_graph(data).subgraphs[0], read_graph(moved).subgraphs[0]
    assert [after.operators[1].outputs, after.operators[2].outputs] == [
        before.operators[2].outputs,
        before.operators[1].outputs,
    ]
    assert outputs(moved) == outputs(data)


def test_a_file_with_a_plan_of_its_own_is_refused() -> None:
    part = Part([T([32]), T([32])], [Op("RELU", [0], [1])], [0], [1])
    words = np.array([1, 0, 2, -1, -1], "<i4").tobytes()
    with pytest.raises(InvalidInputError, match="memory plan"):
        reorder(model_bytes([part], {OFFLINE_PLAN: words}))


def test_a_graph_without_operators_comes_back() -> None:
    data = model_bytes([Part([T([1])], [], [0], [0])])
    assert reorder(data).data == data
