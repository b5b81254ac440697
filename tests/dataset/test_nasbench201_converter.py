"""The known spaces beside the same networks written in Keras and converted by TensorFlow.

PERFSAGE_TENSORFLOW_PYTHON names a Python that has TensorFlow.
"""

import os
import subprocess
from pathlib import Path

import pytest
from structure import operators, wiring
from tensorflow_python import python_with_tensorflow

from dataset.draws import Draws
from dataset.spaces.fbnet import BLOCK_COUNT, BLOCKS
from dataset.spaces.known import known_space
from dataset.spaces.nasbench201_cell import EDGES, OPERATIONS, cell_text
from perfsage.graph import Graph, read_graph
from perfsage.graph.costs import graph_macs

pytestmark = pytest.mark.slow
CONVERT = Path(__file__).with_name("reference_networks.py")
CELLS = [
    "|avg_pool_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_1x1~2|",
    "|nor_conv_1x1~0|+|avg_pool_3x3~0|none~1|+|none~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    "|nor_conv_1x1~0|+|none~0|none~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|",
    "|skip_connect~0|+|avg_pool_3x3~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|avg_pool_3x3~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|avg_pool_3x3~2|",
    "|none~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|",
    "|skip_connect~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|",
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
]


def converted(folder: Path, space: str, dtype: str, texts: list[str]) -> list[Graph]:
    """Convert all in one process: importing TensorFlow takes longer than converting."""
    command = [python_with_tensorflow(), str(CONVERT), space, dtype, str(folder)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, input="\n".join(texts), text=True, capture_output=True, env=environment, timeout=3600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [read_graph((folder / f"{number}.tflite").read_bytes()) for number in range(len(texts))]


def some_cells(count: int) -> list[str]:
    draws = Draws("converter sample")
    return [cell_text(tuple(draws.choice(OPERATIONS) for _ in EDGES)) for _ in range(count)]


def some_blocks(count: int) -> list[str]:
    draws = Draws("converter blocks")
    return [" ".join(draws.choice(tuple(BLOCKS)) for _ in range(BLOCK_COUNT)) for _ in range(count)]


@pytest.mark.parametrize(
    ("space", "dtype", "texts"),
    [
        ("nasbench201", "float32", CELLS + some_cells(12)),
        ("nasbench201", "int8", CELLS[:2] + some_cells(2)),
        ("fbnet", "float32", some_blocks(4)),
        ("fbnet", "int8", some_blocks(1)),
    ],
)
def test_networks_are_those_of_the_converter(
    space: str, dtype: str, texts: list[str], tmp_path: Path
) -> None:
    for text, expected in zip(texts, converted(tmp_path, space, dtype, texts), strict=True):
        built = read_graph(known_space(space).parse(text).build(dtype).data)  # type: ignore[arg-type]
        assert operators(built) == operators(expected), text
        assert wiring(built) == wiring(expected), text
        assert graph_macs(built) == graph_macs(expected), text
