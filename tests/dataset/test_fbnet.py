"""The space fbnet: its blocks and its networks."""

from collections import Counter

import pytest

from dataset.spaces import get_space
from dataset.spaces.fbnet import BLOCK_COUNT, BLOCKS
from dataset.spaces.known import known_space
from perfsage.errors import InvalidInputError
from perfsage.graph import Graph, read_graph
from perfsage.graph.costs import graph_macs

SPACE = known_space("fbnet")
EVERY_BLOCK = (
    "k3_e1_g2 skip k3_e3 k3_e6 k5_e1 k5_e1_g2 k5_e3 k5_e6 skip skip k3_e1 "
    "k3_e1 k5_e6 skip k3_e6 k5_e3 k5_e1_g2 skip k3_e3 k3_e1 k5_e6 skip"
)
SKIPS = " ".join(["skip"] * BLOCK_COUNT)


def graph(text: str, dtype: str = "float32") -> Graph:
    return read_graph(SPACE.parse(text).build(dtype).data)  # type: ignore[arg-type]


def test_skips_are_convolutions_only_where_the_shape_changes() -> None:
    found = graph(SKIPS)
    assert Counter(o.type for o in found.operators) == {"CONV_2D": 1 + 6 + 1, "MEAN": 1, "FULLY_CONNECTED": 1}
    plan = ((32, 3 * 9, 16), (32, 16, 24), (16, 24, 32), (8, 32, 64), (8, 64, 112), (4, 112, 184),
            (4, 184, 352), (4, 352, 1504))  # fmt: skip
    expected = sum(size * size * inputs * outputs for size, inputs, outputs in plan) + 1504 * 100
    assert graph_macs(found)[0] == expected


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_operators_are_those_of_the_blocks(dtype: str) -> None:
    names = EVERY_BLOCK.split()
    blocks = [name for name in names if name != "skip"]
    shuffles = sum(name.endswith("g2") for name in names)
    changing = sum(names[first] == "skip" for first in (1, 5, 9, 13, 17, 21))
    counts = Counter(operator.type for operator in graph(EVERY_BLOCK, dtype).operators)
    assert counts["DEPTHWISE_CONV_2D"] == len(blocks)
    assert counts["CONV_2D"] == 2 + 2 * len(blocks) + changing
    assert counts["TRANSPOSE"] == shuffles == counts["RESHAPE"] / 2
    assert counts["ADD"] == len(blocks) - (6 - changing)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_networks_run_in_litert(dtype: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=SPACE.parse(EVERY_BLOCK).build(dtype).data)  # type: ignore[arg-type]
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).shape == (1, 100)


def test_bytes_are_the_same_on_every_machine_and_for_ever() -> None:
    built = {dtype: graph(EVERY_BLOCK, dtype).model_id[:16] for dtype in ("float32", "int8")}
    assert built == {"float32": "f1c0ddc4b810cfe7", "int8": "71ecab99daa143f2"}


def test_seeds_draw_networks() -> None:
    texts = [str(SPACE.sample(seed)["text"]) for seed in range(40)]
    assert len(set(texts)) == 40
    assert {name for text in texts for name in text.split()} == set(BLOCKS)
    assert get_space("fbnet").build(3, "int8").data == SPACE.parse(texts[3]).build("int8").data
    assert SPACE.seed_of(texts[3]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 22 blocks, and this text has 0"),
        (SKIPS + " skip", "has 23"),
        (EVERY_BLOCK.replace("k5_e3", "k7_e3"), "block 7 of 22 is 'k7_e3'"),
        ("skip " * 5000, "25000 characters"),
    ],
)
def test_impossible_texts_name_the_block(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SPACE.parse(text)
