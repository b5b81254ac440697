"""What lies in SRAM and what in DRAM where there are both, held against the installed Vela."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.npu_formulas import ours, vela
from dataset.builder import Builder
from perfsage.features import extract_features
from perfsage.features.npu.schedule import execution_order
from perfsage.features.operands import Operands
from perfsage.graph import read_graph

DEVICES = ("ethos-u65-512", "ethos-u85-1024")


def _made(build: Any, *shapes: tuple[int, ...]) -> bytes:
    b = Builder(dtype="int8", seed=5)
    b.output(build(b, *(b.input(shape) for shape in shapes)))
    return b.finish()


def _peaks(device: str, data: bytes) -> tuple[float, float]:
    """Return the bytes of SRAM at most, as the formulas and as Vela have them."""
    theirs = vela(device, data)
    assert theirs is not None
    return ours(device, extract_features(read_graph(data)))[1], theirs[1]


def _around_the_cpu(b: Builder, x: Any) -> Any:
    """Return a sum with what the CPU enlarges, for which something waits."""
    y = b.conv(x, 32, kernel=3)
    small = b.conv(b.max_pool(y), 32)
    return b.conv(b.add(b.resize_bilinear(small, (31, 41)), b.conv(y, 32)), 8)


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_alive_while_the_cpu_works_is_not_in_sram(device: str) -> None:
    mine, theirs = _peaks(device, _made(_around_the_cpu, (1, 31, 41, 8)))
    assert mine == pytest.approx(theirs, rel=0.03)


def test_the_cpu_works_as_late_as_it_can() -> None:
    def twice(b: Builder, x: Any) -> Any:
        low, high = b.conv(x, 8), b.conv(x, 8)
        return b.add(b.conv(high, 8), b.depth_to_space(b.space_to_depth(low, 2), 2))

    graph = read_graph(_made(twice, (1, 8, 8, 8)))
    subgraph = graph.subgraphs[0]
    operands = Operands(subgraph)
    cpu = operands.is_type("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
    order = execution_order(subgraph, operands, np.stack([cpu, cpu], axis=1))
    assert sorted(order.tolist()) == list(range(len(cpu)))
    assert cpu[order].tolist() == [False, False, False, True, True, False]
    nobody = np.zeros((len(cpu), 2), dtype=np.bool_)
    assert cpu[execution_order(subgraph, operands, nobody)].tolist() != cpu[order].tolist()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [2, 24])
def test_what_a_mean_sums_up_is_in_sram(device: str, channels: int) -> None:
    mine, theirs = _peaks(device, _made(lambda b, x: b.mean(x, keep_dims=True), (1, 14, 12, channels)))
    assert mine == theirs


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256", *DEVICES])
def test_what_is_turned_for_products_is_there_before_the_first_of_them(device: str) -> None:
    def products(b: Builder, x: Any, first: Any, second: Any) -> Any:
        return b.batch_matmul(b.batch_matmul(x, first), second)

    data = _made(products, (1, 12, 96), (1, 96, 40), (1, 40, 24))
    mine, theirs = _peaks(device, data)
    assert mine == pytest.approx(theirs, rel=0.04)


@pytest.mark.parametrize("device", DEVICES)
def test_an_activation_of_its_own_reads_from_sram_what_leaves_the_graph(device: str) -> None:
    data = _made(lambda b, x: b.conv(x, 4, activation="relu"), (1, 3, 14, 24))
    mine, theirs = _peaks(device, data)
    assert mine == pytest.approx(theirs, rel=0.02)


def test_u85_looks_for_places_in_rows() -> None:
    data = _made(lambda b, x: b.arg_max(b.gelu(x)), (1, 8, 12, 8))
    mine, theirs = _peaks("ethos-u85-1024", data)
    assert mine == theirs


def test_a_softmax_that_does_not_fit_lies_in_dram_in_part() -> None:
    mine, theirs = _peaks("ethos-u85-1024", _made(lambda b, x: b.softmax(b.conv(x, 21)), (1, 1, 2307, 16)))
    assert mine == pytest.approx(theirs, rel=0.05)


def test_weights_are_not_copied_while_the_cpu_works() -> None:
    def build(b: Builder, x: Any) -> Any:
        small = b.resize_bilinear(b.conv(x, 16, kernel=3), (3, 2))
        return b.fully_connected(b.reshape(small, (1, 96)), 64)

    data = _made(build, (1, 20, 30, 16))
    mine, theirs = _peaks("ethos-u85-1024", data)
    assert mine == pytest.approx(theirs, rel=0.03)
    theirs_all = vela("ethos-u85-1024", data)
    assert theirs_all is not None
    assert ours("ethos-u85-1024", extract_features(read_graph(data)))[0] == pytest.approx(
        theirs_all[0], rel=0.01
    )


def test_weights_are_not_copied_in_slices_that_end_within_microblocks() -> None:
    data = _made(lambda b, x: b.conv(b.conv(b.conv(x, 96), 96, kernel=5), 96, kernel=3), (1, 12, 12, 96))
    mine, theirs = _peaks("ethos-u85-1024", data)
    assert mine == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize(("kernel", "channels"), [(4, 256), (3, 96)])
def test_an_input_that_is_read_more_than_once_is_copied_where_that_is_faster(
    kernel: int, channels: int
) -> None:
    data = _made(lambda b, x: b.depthwise(x, kernel=kernel), (1, 48, 16, channels))
    mine, theirs = _peaks("ethos-u85-1024", data)
    assert mine == pytest.approx(theirs, rel=0.1)
    assert (theirs > 48 * 16 * channels) == (channels > 128)
