"""The memory plan and the arena against TFLM itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.builder import Builder
from perfsage.errors import InvalidInputError
from perfsage.graph import read_graph
from perfsage.graph.joining import join
from perfsage.graph.lifetimes import NEVER, lifetimes
from perfsage.graph.memory_arena import ArenaEstimate, estimate_arena, estimate_arenas
from perfsage.graph.memory_plan import OFFLINE_PLAN, plan_memory
from perfsage.graph.memory_planner import place
from perfsage.measurement import OperatorRef
from tests.graph.costs_models import Op, Part, T, model_bytes, one_operator
from tests.graph.memory_tflm import recorded

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"
F32, I32, I16 = "FLOAT32", "INT32", "INT16"


def branches(dtype: str = "int8") -> bytes:
    b = Builder(dtype=dtype, seed=3)  # type: ignore[arg-type]
    x = b.conv(b.input((1, 16, 16, 3)), 8)
    left, right = b.depthwise(x), b.max_pool(b.conv(x, 24, kernel=1))
    both = b.concat([b.average_pool(left), right])
    y = b.add(both, b.conv(both, 32, kernel=1))
    b.output(b.softmax(b.fully_connected(b.mean(y), 5)))
    return b.finish()


def lstm() -> bytes:
    b = Builder(seed=1)
    b.output(b.fully_connected(b.reshape(b.lstm(b.input((1, 7, 5)), 6), (1, 42)), 3))
    return b.finish()


def shapes() -> bytes:
    b = Builder(seed=5)
    x = b.transpose_conv(b.input((1, 6, 6, 4)), 6)
    x = b.mul(b.logistic(x), b.pad(b.split(b.relu6(b.hard_swish(x)), 2)[0], [(0, 0), (0, 0), (0, 0), (0, 3)]))
    x = b.leaky_relu(b.resize_bilinear(b.tanh(b.sub(x, x)), (9, 9)))
    b.output(b.dequantize(b.strided_slice(b.transpose(x, (0, 2, 1, 3)), (0, 1, 1, 0), (1, 5, 5, 2))))
    return b.finish()


def attention() -> bytes:
    b = Builder(seed=7)
    x = b.input((1, 6, 8))
    scores = b.softmax(b.batch_matmul(x, x, transpose_b=True))
    b.output(b.batch_matmul(scores, x))
    return b.finish()


def scratch(type_: str, *tensors: T, made: T, **options: object) -> bytes:
    given = [i for i, tensor in enumerate(tensors) if not (tensor.data or tensor.variable)]
    operator = Op(type_, range(len(tensors)), [len(tensors)], options)
    return model_bytes([Part([*tensors, made], [operator], given, [len(tensors)])])


AXES = T([2], I32, data=b"\1\0\0\0\2\0\0\0")
PADS = T([4, 2], I32, data=b"\0" * 8 + b"\1\0\0\0" * 4 + b"\0" * 8)


def side_by_side(type_: str, *tensors: T, made: T, **options: object) -> bytes:
    """Three operators of the same inputs: the first buffer's alignment differs from that of the others."""
    count = len(tensors)
    operators = [Op(type_, range(count), [count + i], options) for i in range(3)]
    given = [i for i, tensor in enumerate(tensors) if not tensor.data]
    return model_bytes([Part([*tensors, *[made] * 3], operators, given, range(count, count + 3))])


def rare(type_: str) -> dict[str, bytes]:
    """Return models of operators that TFLM has and few networks use, of float or INT8 tensors."""
    options = {"quantized": type_ == "INT8"}
    rows, result = T([3, 30], type_, **options), T([3, 30], type_, scale=1 / 16, zero_point=127, **options)
    deep, wide = T([1, 4, 4, 12], type_, **options), T([1, 8, 8, 3], type_, **options)
    table, found = T([10, 30], type_, data=True, **options), T([2, 30], type_, **options)
    one, two = T([1], I32, data=b"\1\0\0\0"), T([2], I32, data=b"\1\0\0\0" * 2)
    made = {
        "ADD_N": side_by_side("ADD_N", rows, rows, rows, made=rows, table="AddNOptions"),
        "CUMSUM": side_by_side("CUMSUM", rows, one, made=rows, table="CumsumOptions"),
        "DEPTH_TO_SPACE": side_by_side(
            "DEPTH_TO_SPACE", deep, made=wide, table="DepthToSpaceOptions", blockSize=2
        ),
        "SPACE_TO_DEPTH": side_by_side(
            "SPACE_TO_DEPTH", wide, made=deep, table="SpaceToDepthOptions", blockSize=2
        ),
        "DYNAMIC_UPDATE_SLICE": side_by_side(
            "DYNAMIC_UPDATE_SLICE", rows, found, two, made=rows, table="DynamicUpdateSliceOptions"
        ),
        "EMBEDDING_LOOKUP": side_by_side("EMBEDDING_LOOKUP", T([2], I32), table, made=found),
        "LOG_SOFTMAX": side_by_side("LOG_SOFTMAX", rows, made=result, table="LogSoftmaxOptions"),
    }
    return {f"{name} {type_}": model for name, model in made.items()}


def unused_and_orphaned() -> bytes:
    """An unused input, an unused tensor, two subgraphs that nothing calls, an output made early."""
    tensors = [T([50], F32), T([30], F32), T([50], F32), T([50], F32), T([999], F32), T([50], F32)]
    operators = [Op("RELU", [0], [2]), Op("RELU", [0], [3]), Op("ADD", [2, 3], [5], {"table": "AddOptions"})]
    orphan = Part([T([40], F32), T([40], F32)], [Op("RELU", [0], [1])], [0], [1])
    return model_bytes([Part(tensors, operators, [0, 1], [2, 5]), orphan, orphan])


def control_flow() -> bytes:
    """An IF with two branches of different size."""
    small = Part([T([16], F32), T([16], F32)], [Op("RELU", [0], [1])], [0], [1])
    large = Part(
        [T([16], F32), T([16], F32), T([16], F32)], [Op("RELU", [0], [1]), Op("ABS", [1], [2])], [0], [2]
    )
    tensors = [T([1], "BOOL"), T([16], F32), T([16], F32), T([16], F32), T([16], F32)]
    choose = Op("IF", [0, 2], [3], {"table": "IfOptions", "thenSubgraphIndex": 1, "elseSubgraphIndex": 2})
    operators = [Op("RELU", [1], [2]), choose, Op("ADD", [2, 3], [4], {"table": "AddOptions"})]
    return model_bytes([Part(tensors, operators, [0, 1], [4]), small, large])


GENERATED = {
    "branches int8": branches(),
    "branches float": branches("float32"),
    "lstm": lstm(),
    "shapes": shapes(),
    "attention": attention(),
    "unused and orphaned": unused_and_orphaned(),
    "control flow": control_flow(),
    "float mean": scratch("MEAN", T([1, 8, 8, 3], F32), AXES, made=T([1, 3], F32), table="ReducerOptions"),
    "reduce max": scratch(
        "REDUCE_MAX", T([1, 8, 8, 3], F32), AXES, made=T([1, 3], F32), table="ReducerOptions"
    ),
    "mirror pad": scratch(
        "MIRROR_PAD", T([1, 4, 4, 3], F32), PADS, made=T([1, 6, 6, 3], F32), table="MirrorPadOptions"
    ),
    "float svdf": scratch(
        "SVDF",
        T([1, 10], F32),
        T([8, 10], F32, data=True),
        T([8, 5], F32, data=True),
        T([4], F32, data=True),
        T([1, 40], F32, variable=True),
        made=T([1, 4], F32),
        table="SVDFOptions",
        rank=2,
    ),
    "L2_POOL_2D": side_by_side(
        "L2_POOL_2D",
        T([1, 8, 8, 3], F32),
        made=T([1, 4, 4, 3], F32),
        table="Pool2DOptions",
        strideW=2,
        strideH=2,
        filterWidth=2,
        filterHeight=2,
    ),
    **rare(F32),
    **rare("INT8"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {name: folder / f"{i}.tflite" for i, name in enumerate(GENERATED)}
    for name, path in paths.items():
        path.write_bytes(GENERATED[name])
    return paths


def test_generated_models_match_tflm(written: dict[str, Path]) -> None:
    arenas = recorded(list(written.values()))
    for name, path in written.items():
        arena = arenas[path]
        assert arena is not None, f"TFLM refuses {name}"
        estimate = estimate_arena(read_graph(path))
        assert estimate.head_bytes == arena.head, name
        assert (estimate.tail_bytes, estimate.total_bytes) == (arena.tail, arena.total), name


@pytest.mark.skipif(not MODELS.is_dir(), reason="the collection of real models is not here")
def test_real_models_match_tflm() -> None:
    accepted = {path: arena for path, arena in recorded(sorted(MODELS.glob("*.tflite"))).items() if arena}
    assert len(accepted) >= 40
    for path, arena in accepted.items():
        estimate = estimate_arena(read_graph(path))
        assert estimate.head_bytes == arena.head, path.name
        if estimate.tail_bytes is None:
            assert "Signal" in str(estimate.unavailable)
        else:
            assert (estimate.tail_bytes, estimate.total_bytes) == (arena.tail, arena.total), path.name


def test_an_unknown_operator_leaves_the_tail_open() -> None:
    estimate = estimate_arena(one_operator("CUSTOM", [T([4])], [T([4])]))
    assert (estimate.head_bytes, estimate.tail_bytes, estimate.total_bytes) == (32, None, None)
    assert estimate.unavailable == "what Mystery stores for good is not known"


def test_a_subgraph_without_operators_has_an_arena() -> None:
    parts = [Part([T([4]), T([4])], [Op("RELU", [0], [1])], [0], [1]), Part([T([4])], [], [0], [0])]
    estimate = estimate_arena(read_graph(model_bytes(parts)))
    assert estimate.tail_bytes is not None and estimate.head_bytes == 32


def test_arenas_of_many_graphs_are_those_of_each() -> None:
    tensors = [T([16]), T([640]), T([16]), T([320]), T([64]), T([48])]
    unused = Part(tensors, [Op("RELU", [0], [1]), Op("ADD", [1, 3], [2])], [0], [2])
    files = [branches(), lstm(), model_bytes([unused]), shapes(), attention(), branches("float32")]
    graphs = [read_graph(data) for data in files]
    joined = join([graph.subgraphs[0] for graph in graphs])
    assert estimate_arenas(graphs, joined) == [estimate_arena(graph) for graph in graphs]


def test_one_graph_without_a_plan_leaves_others_theirs() -> None:
    graphs = [read_graph(branches()), one_operator("RESHAPE", [T([4], "STRING")], [T([4], "STRING")])]
    found = estimate_arenas(graphs, join([graph.subgraphs[0] for graph in graphs]))
    assert isinstance(found[0], ArenaEstimate) and found[0] == estimate_arena(graphs[0])
    assert isinstance(found[1], InvalidInputError)


def test_lifetimes_of_a_small_graph() -> None:
    tensors = [T([16]), T([16]), T([16]), T([4], data=True), T([9]), T([16]), T([3], variable=True)]
    operators = [Op("RELU", [0], [1]), Op("ADD", [1, 3], [2]), Op("ADD", [2, 6], [5])]
    alive = lifetimes(read_graph(model_bytes([Part(tensors, operators, [0], [5])])).subgraphs[0])
    assert alive.first.tolist() == [-1, 0, 1, NEVER, NEVER, 2, -1]
    assert alive.last.tolist() == [0, 1, 2, NEVER, NEVER, 2, 2]
    assert alive.live_bytes.tolist() == [32, 32, 32]


def test_plan_tells_what_makes_the_peak() -> None:
    plan = plan_memory(read_graph(branches()))
    assert plan.peak_operator == OperatorRef(0, 2)
    assert plan.peak_bytes >= plan.live_bytes.max()
    buffers = list(plan.buffers)
    assert max(buffer.offset_bytes + buffer.size_bytes for buffer in buffers) == plan.peak_bytes
    assert {buffer.operator for buffer in buffers if buffer.tensor is None} == {9}


def test_offline_plan_is_kept() -> None:
    tensors = [T([32]), T([32]), T([32])]
    part = Part(tensors, [Op("RELU", [0], [1]), Op("RELU", [1], [2])], [0], [2])
    words = np.array([1, 0, 3, 64, -1, 0], "<i4").tobytes()
    plan = plan_memory(read_graph(model_bytes([part], {OFFLINE_PLAN: words})))
    assert plan.offset_bytes.tolist() == [64, 32, 0]
    with pytest.raises(InvalidInputError, match="one offset for each tensor"):
        plan_memory(read_graph(model_bytes([part], {OFFLINE_PLAN: words[:-4]})))


def test_tensors_without_a_size_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="tensor 0 has no fixed size"):
        plan_memory(one_operator("RESHAPE", [T([4], "STRING")], [T([4], "STRING")]))


def test_calls_that_multiply_are_refused() -> None:
    parts = []
    for index in range(1, 30):
        twice = {"table": "IfOptions", "thenSubgraphIndex": index, "elseSubgraphIndex": index}
        parts.append(Part([T([1], "BOOL")], [Op("IF", [0], [], twice)], [0], [0]))
    parts.append(Part([T([4])], [], [0], [0]))
    with pytest.raises(InvalidInputError, match="too often"):
        plan_memory(read_graph(model_bytes(parts)))


def _first_fit(size: list[int], first: list[int], last: list[int]) -> list[int]:
    """The planner's rule, stated without any data structure."""
    offsets: dict[int, int] = {}
    for i in sorted(range(len(size)), key=lambda i: (-size[i], -i)):
        others = [j for j in offsets if first[j] <= last[i] and first[i] <= last[j]]
        free = (
            offset
            for offset in sorted({0, *(offsets[j] + size[j] for j in others)})
            if all(offset + size[i] <= offsets[j] or offset >= offsets[j] + size[j] for j in others)
        )
        offsets[i] = next(free)
    return [offsets[i] for i in range(len(size))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=25))
def test_placement_is_first_fit(buffers: list[tuple[int, int, int]]) -> None:
    size = [16 * item[0] for item in buffers]
    first = [item[1] for item in buffers]
    last = [item[1] + item[2] for item in buffers]
    offsets = place(np.array(size), np.array(first), np.array(last))
    assert offsets.tolist() == _first_fit(size, first, last)


def test_many_overlaps_are_refused() -> None:
    count = 5000
    with pytest.raises(InvalidInputError, match="alive together"):
        place(np.full(count, 16), np.zeros(count, int), np.full(count, 9))
