"""The space nasbench201: its cells, its programs, its networks."""

from collections import Counter
from itertools import permutations
from pathlib import Path

import pandas as pd
import pytest

from dataset.draws import Draws
from dataset.spaces import get_space
from dataset.spaces.known import known_space
from dataset.spaces.nasbench201 import canonical
from dataset.spaces.nasbench201_cell import CELLS, EDGES, OPERATIONS, cell_text, parse_cell
from perfsage.errors import InvalidInputError, UnknownNameError
from perfsage.graph import Graph, read_graph
from perfsage.graph.costs import graph_macs

SPACE = known_space("nasbench201")
PUBLISHED = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
IDENTITY = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


def graph(cell: str, dtype: str = "float32") -> Graph:
    return read_graph(SPACE.parse(cell).build(dtype).data)  # type: ignore[arg-type]


def kinds(cell: str, dtype: str = "float32") -> Counter[str]:
    return Counter(operator.type for operator in graph(cell, dtype).operators)


def cells(count: int) -> list[str]:
    draws = Draws("cells to test")
    return [cell_text(tuple(draws.choice(OPERATIONS) for _ in EDGES)) for _ in range(count)]


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_operators_are_those_of_the_published_network(dtype: str) -> None:
    # 5 x 3 cells of 3 convolutions, 1 pool, 2 sums; stem; 2 reductions; BatchNorm after a sum; classifier.
    assert kinds(PUBLISHED, dtype) == {
        "CONV_2D": 45 + 1 + 6, "ADD": 30 + 2 + 1, "AVERAGE_POOL_2D": 15 + 2, "RELU": 15 + 2,
        "MUL": 1, "MEAN": 1, "FULLY_CONNECTED": 1,
    }  # fmt: skip


def test_macs_are_those_of_the_convolutions() -> None:
    def conv(size: int, inputs: int, outputs: int, kernel: int) -> int:
        return size * size * inputs * outputs * kernel * kernel

    stages = ((32, 16), (16, 32), (8, 64))
    expected = conv(32, 3, 16, 3) + 64 * 10
    expected += sum(5 * (2 * conv(s, c, c, 3) + conv(s, c, c, 1)) for s, c in stages)
    expected += sum(conv(s, c // 2, c, 3) + conv(s, c, c, 3) + conv(s, c // 2, c, 1) for s, c in stages[1:])
    assert graph_macs(graph(PUBLISHED))[0] == expected


def test_input_and_output_are_those_of_cifar10() -> None:
    main = graph(PUBLISHED, "int8").subgraphs[0]
    assert [main.tensors[t].shape for t in (*main.inputs, *main.outputs)] == [(1, 32, 32, 3), (1, 10)]
    assert {main.tensors[t].type for t in (*main.inputs, *main.outputs)} == {"INT8"}


def test_identity_cells_leave_no_operator() -> None:
    assert kinds(IDENTITY) == {
        "CONV_2D": 7, "ADD": 3, "AVERAGE_POOL_2D": 2, "RELU": 2, "MUL": 1, "MEAN": 1, "FULLY_CONNECTED": 1,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("cell", [NOTHING, "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"])
def test_a_cell_that_is_always_zero_leaves_a_constant_that_runs(cell: str, dtype: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    data = SPACE.parse(cell).build(dtype).data  # type: ignore[arg-type]
    assert not list(read_graph(data).operators)
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).shape == (1, 10)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_networks_run_in_litert(dtype: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=SPACE.parse(PUBLISHED).build(dtype).data)  # type: ignore[arg-type]
    interpreter.allocate_tensors()
    interpreter.invoke()


def test_relu_is_shared_by_its_readers_and_fused_where_nothing_else_reads() -> None:
    chain = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_1x1~2|"
    # Every ReLU but that before the shortcuts of the two reductions is a part of a convolution.
    assert kinds(chain)["RELU"] == 2
    assert "MUL" not in kinds(chain)  # the last BatchNorm is a part of a convolution, too
    fan = "|none~0|+|nor_conv_3x3~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"
    assert kinds(fan)["RELU"] == 2


def test_renamed_nodes_give_the_same_graph() -> None:
    by_node_1 = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
    by_node_2 = "|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    with_dead = "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
    assert len({canonical(cell) for cell in (by_node_1, by_node_2, with_dead)}) == 1
    assert len({graph(cell).graph_id for cell in (by_node_1, by_node_2, with_dead)}) == 1


def test_reordered_sums_give_the_same_graph() -> None:
    programs = set()
    for a, b, c in permutations(("skip_connect", "nor_conv_1x1", "avg_pool_3x3")):
        text = f"|skip_connect~0|+|skip_connect~0|none~1|+|{a}~0|{b}~1|{c}~2|"
        programs.add((canonical(text), graph(text).graph_id))
    assert len(programs) == 1


def test_sums_within_sums_give_the_graph_of_one_sum() -> None:
    x_conv_then_pools = (
        "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|none~1|skip_connect~2|"
    )
    x_pool_then_conv = (
        "|skip_connect~0|+|avg_pool_3x3~0|skip_connect~1|+|nor_conv_1x1~0|none~1|skip_connect~2|"
    )
    assert canonical(x_conv_then_pools) == canonical(x_pool_then_conv)
    doubled = (
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|"
    )
    assert (
        canonical(doubled) == "add 0 0; add 1 1; out 2"
    )  # two sums, as the converter writes them, not three


def test_canonical_text_and_graph_id_agree() -> None:
    sample = [
        *cells(60),
        "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",
        "|nor_conv_1x1~0|+|nor_conv_1x1~0|none~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|",
    ]
    pairs = {(canonical(cell), graph(cell).graph_id) for cell in sample}
    assert len({text for text, _ in pairs}) == len({identity for _, identity in pairs}) == len(pairs)


def test_two_convolutions_of_one_tensor_are_not_one() -> None:
    shared = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|"
    own = "|nor_conv_1x1~0|+|nor_conv_1x1~0|none~1|+|none~0|nor_conv_1x1~1|nor_conv_1x1~2|"
    assert canonical(shared) != canonical(own)


def test_weights_depend_on_the_text_alone() -> None:
    one, again = (SPACE.parse(PUBLISHED).build("int8").data for _ in range(2))
    assert one == again
    assert SPACE.parse(f" {PUBLISHED}\n").build("int8").data == one
    assert SPACE.parse(IDENTITY).build("int8").data != one


def test_bytes_are_the_same_on_every_machine_and_for_ever() -> None:
    built = {dtype: graph(PUBLISHED, dtype).model_id[:16] for dtype in ("float32", "int8")}
    assert built == {"float32": "767306c63525e9c4", "int8": "e4db2c45a070c533"}


def test_seeds_number_all_cells() -> None:
    assert sorted(
        SPACE.seed_of(cell_text(parse_cell(str(SPACE.sample(seed)["text"])))) for seed in range(50)
    ) == [*range(50)]
    assert get_space("nasbench201").build(SPACE.seed_of(PUBLISHED) or 0, "int8").data == (
        SPACE.parse(PUBLISHED).build("int8").data
    )
    assert len({str(SPACE.sample(seed)) for seed in range(0, CELLS, 25)}) == CELLS // 25
    with pytest.raises(InvalidInputError, match="no cell 15625"):
        SPACE.sample(CELLS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "3 nodes"),
        ("|none~0|+|none~0|none~1|", "has 2"),
        (PUBLISHED.replace("avg_pool_3x3", "max_pool_3x3"), "edge 2 of node 2 has the unknown operation"),
        (PUBLISHED.replace("none~1", "none~2"), "edge 2 of node 3 comes from '2'"),
        (PUBLISHED.replace("~0|+", "|+"), "edge 1 of node 1 comes from ''"),
        (PUBLISHED[:-1], "node 3"),
        (PUBLISHED + "|none~3|", "node 3"),
        ("|none~0|+" * 500, "4500 characters"),
    ],
)
def test_impossible_texts_name_the_position(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SPACE.parse(text)


SHARED = Path(__file__).parents[3] / "shared" / "data" / "nasbench201_latency_ms.parquet"


@pytest.mark.skipif(not SHARED.is_file(), reason="the public table is not beside the repository")
def test_published_isomorphism_classes_part_only_by_shared_convolutions() -> None:
    """NAS-Bench-201's own classes take one convolution that two edges read for two, one an edge."""
    frame = pd.read_parquet(SHARED, columns=["cell", "isomorphism_class"]).iloc[:1500]
    frame["text"] = [canonical(cell) for cell in frame["cell"]]
    for _, group in frame.groupby("isomorphism_class"):
        convolutions = [text.count("nor_conv") for text in group["text"].unique()]
        assert len(convolutions) == len(set(convolutions)), group


def test_only_known_spaces_have_texts() -> None:
    with pytest.raises(UnknownNameError, match="fbnet, nasbench201"):
        known_space("kws")
