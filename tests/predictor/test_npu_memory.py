"""What an NPU keeps in SRAM and adds to its flash, beside what Vela itself reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder
from dataset.spaces import get_space
from perfsage.features import GraphFeatures, extract_features
from perfsage.features.npu.sharing import Base, sharing_of
from perfsage.features.operands import Operands
from perfsage.graph import read_graph
from profilers.npu.tasks import compile_model

ROW = 16 * 16 * 32
"""Bytes of the tensors that `_made` puts between operators."""


def _made(build: Any, shape: tuple[int, ...] = (1, 16, 16, 32)) -> tuple[GraphFeatures, bytes]:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    data = b.finish()
    return extract_features(read_graph(data)), data


def _ours(features: GraphFeatures, name: str = "u55_128", live: str = "block_live_bytes") -> float:
    return float((features.cost(live) + features.cost(f"ahead_{name}")).max())


def _vela(data: bytes, device: str = "ethos-u55-128") -> dict[str, Any]:
    return compile_model(data, {"device": device, "layers": False})


def _sram(data: bytes, device: str = "ethos-u55-128") -> float:
    return float(_vela(data, device)["memories"]["sram"]["peak_bytes"])


@pytest.mark.parametrize(
    ("device", "name", "live"),
    [("ethos-u55-128", "u55_128", "block_live_bytes"), ("ethos-u85-256", "u85_256", "chained_live_bytes")],
)
def test_peaks_are_velas_for_most_sampled_networks(device: str, name: str, live: str) -> None:
    errors = []
    for seed in range(3000, 3012):
        data = get_space("classification").build(seed, "int8").data
        errors.append(_ours(extract_features(read_graph(data)), name, live) / _sram(data, device) - 1)
    assert np.mean(np.abs(errors) < 0.01) >= 0.7


def test_sums_are_written_over_an_input_that_nobody_else_reads() -> None:
    def residual(b: Builder, x: Any) -> Any:
        y = b.conv(x, 32)
        return b.conv(b.add(y, b.tanh(b.conv(y, 32))), 8)

    features, data = _made(residual)
    assert _ours(features) == pytest.approx(_sram(data), rel=0.01)
    assert features.cost("block_live_bytes")[list(features.type_names).index("ADD")] == 2 * ROW


def test_parts_of_a_concatenation_are_written_where_they_belong() -> None:
    def joined(b: Builder, x: Any) -> Any:
        y = b.conv(x, 32)
        return b.conv(b.concat([b.conv(y, 32), b.conv(y, 32)]), 8)

    features, data = _made(joined)
    assert _ours(features) == pytest.approx(_sram(data), rel=0.01)


@pytest.mark.parametrize("channels", [8, 24])
def test_an_image_that_is_read_as_one_row_does_not_lie_in_bricks(channels: int) -> None:
    features, data = _made(
        lambda b, x: b.fully_connected(b.conv(x, channels), 4, flatten=True), (1, 20, 12, 3)
    )
    assert _ours(features) == pytest.approx(_sram(data), rel=0.01)
    assert features.cost("block_live_bytes").max() == 20 * 12 * (3 + channels)


def test_what_enters_and_leaves_is_not_in_the_sram_of_accelerators_with_dram() -> None:
    features, data = _made(lambda b, x: b.conv(b.conv(x, 32), 32))
    assert features.cost("inner_live_bytes").max() == ROW
    assert _ours(features, "u65_512", "inner_live_bytes") == pytest.approx(
        _sram(data, "ethos-u65-512"), rel=0.02
    )


def test_a_softmax_needs_room_for_integers_and_zeros_in_flash() -> None:
    features, data = _made(lambda b, x: b.softmax(x), shape=(1, 56, 3, 16))
    assert _ours(features) == pytest.approx(_sram(data), rel=0.01)
    assert features.cost("coded_u55_128").sum() == pytest.approx(_vela(data)["read_only_bytes"], rel=0.02)
    assert features.cost("coded_u85_256").sum() == 1136


def test_the_kernel_of_a_mean_is_stored_with_a_bit_an_element() -> None:
    features, data = _made(lambda b, x: b.mean(b.conv(x, 32)), shape=(1, 40, 40, 16))
    ours = features.cost("coded_u55_128").sum()
    assert ours == pytest.approx(_vela(data)["read_only_bytes"], rel=0.02)


def test_weights_come_in_two_halves_where_they_cannot_be_hidden() -> None:
    """The second convolution has many weights and little time before it."""
    hidden, _ = _made(lambda b, x: b.conv(b.conv(x, 32, kernel=3), 32), shape=(1, 32, 32, 32))
    cut, data = _made(lambda b, x: b.conv(b.conv(x, 32), 256, kernel=3), shape=(1, 16, 16, 32))
    stored = hidden.cost("coded_u55_128")[1]
    assert hidden.cost("ahead_u55_128")[1] == pytest.approx(stored, rel=0.02)
    assert cut.cost("ahead_u55_128")[1] < 0.7 * cut.cost("coded_u55_128")[1]
    assert _ours(cut) == pytest.approx(_sram(data), rel=0.03)


def test_tensors_that_share_memory_in_a_circle_end_somewhere() -> None:
    """A damaged graph may name the output of an operator as its own input."""
    data = Builder(dtype="int8", seed=3)
    data.output(data.tanh(data.input((1, 4, 4, 16))))
    subgraph = read_graph(data.finish()).subgraphs[0]
    operands = Operands(subgraph)
    circle = np.roll(np.arange(operands.absent + 1), 1)
    none = np.zeros(1, dtype=np.bool_)
    base = Base(circle, np.zeros(len(circle), dtype=np.bool_), np.empty((0, 2), int), none, np.arange(1))
    shared = sharing_of(subgraph, operands, none, np.zeros(len(circle), int), base, chained=False)
    assert shared.root.max() < len(circle)


@pytest.mark.parametrize(
    "build",
    [
        lambda b, x: b.tanh(b.add(x, b.tanh(x))),
        lambda b, x: b.relu(b.relu(x)),
        lambda b, x: b.concat(b.split(x, 2)),
    ],
    ids=["a function on the way out of the graph", "a function of a function", "parts of an input"],
)
def test_what_enters_and_leaves_takes_as_much_as_vela_says(build: Any) -> None:
    features, data = _made(build, (1, 16, 16, 40))
    assert _ours(features) == _sram(data)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-256"])
@pytest.mark.parametrize(
    "build",
    [
        lambda b, x: b.conv(b.resize_bilinear(b.conv(x, 12), (32, 128), half_pixel=True), 3),
        lambda b, x: b.conv(b.resize_bilinear(b.conv(x, 12), (64, 256)), 3),
        lambda b, x: b.resize_nearest(x, (64, 256)),
    ],
    ids=["four phases", "doubled twice", "on the way out of the graph"],
)
def test_resizing_needs_the_room_that_vela_says(device: str, build: Any) -> None:
    features, data = _made(build, (1, 16, 64, 8))
    # Weights that are copied ahead are not among these bytes.
    assert features.cost("block_live_bytes").max() == pytest.approx(_sram(data, device), rel=0.02)
