"""What becomes of operators on an NPU: what is chained, resized, copied, spilled and left to the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dataset.builder import Builder
from perfsage.features import GraphFeatures, extract_features
from perfsage.features.npu.columns import LEAST_CYCLES
from perfsage.graph import read_graph
from profilers.npu.tasks import compile_model
from tests.predictor.npu import operator_cycles


def _made(build: Any, shape: tuple[int, ...] = (1, 16, 16, 32)) -> tuple[GraphFeatures, bytes]:
    b = Builder(dtype="int8", seed=3)
    b.output(build(b, b.input(shape)))
    data = b.finish()
    return extract_features(read_graph(data)), data


def _row(features: GraphFeatures, name: str) -> int:
    return list(features.type_names).index(name)


def test_arithmetic_is_chained_on_u85_alone_to_what_runs_right_before() -> None:
    features, _ = _made(lambda b, x: b.conv(b.add(b.tanh(x), b.conv(x, 32, kernel=3)), 8))
    row, last = _row(features, "ADD"), _row(features, "TANH")
    assert features.cost("cycles_u85_256")[row] == LEAST_CYCLES
    assert features.cost("cycles_u55_128")[row] > LEAST_CYCLES
    alone, _ = _made(lambda b, x: b.conv(b.tanh(x), 8))
    assert features.cost("cycles_u85_256")[last] > alone.cost("cycles_u85_256")[0]
    # It reads a second tensor, and what it writes does not count.
    assert features.cost("sram_u85_256")[last] == alone.cost("sram_u85_256")[0]
    assert features.cost("near_u55_128")[last] == alone.cost("near_u55_128")[0]


@pytest.mark.parametrize(("half_pixel", "factor"), [(True, 2), (False, 2), (False, 4)])
def test_resizing_takes_as_long_as_vela_says(half_pixel: bool, factor: int) -> None:
    def build(b: Builder, x: Any) -> Any:
        size = (16 * factor, 16 * factor)
        return b.conv(b.resize_bilinear(b.conv(x, 48), size, half_pixel=half_pixel), 8)

    features, data = _made(build)
    layers = compile_model(data, {"device": "ethos-u55-128", "layers": True})["layers"]
    theirs = {index: cycles for index, cycles, _ in layers}
    row = _row(features, "RESIZE_BILINEAR")
    assert features.cost("cycles_u55_128")[row] == pytest.approx(theirs[row], rel=0.3)


def test_what_goes_to_the_cpu_costs_an_npu_nothing_and_its_data_lies_outside() -> None:
    features, _ = _made(lambda b, x: b.conv(b.depth_to_space(b.conv(x, 32), 2), 8))
    row = _row(features, "DEPTH_TO_SPACE")
    for kind in ("cycles", "near", "far", "coded"):
        assert features.cost(f"{kind}_u65_512")[row] == 0
    inside, _ = _made(lambda b, x: b.conv(b.relu6(b.conv(x, 32)), 8))
    assert features.cost("far_u65_512")[0] > 2 * inside.cost("far_u65_512")[0]


def test_what_does_not_fit_into_sram_is_read_from_dram() -> None:
    def build(b: Builder, x: Any) -> Any:
        # What is read twice is not handed on in stripes.
        for _ in range(3):
            x = b.add(x, b.conv(x, 32, kernel=3))
        return x

    small, _ = _made(build, (1, 32, 32, 32))
    large, _ = _made(build, (1, 160, 160, 32))
    for features, far in ((small, False), (large, True)):
        share = features.cost("far_u85_1024")[2] / features.cost("written_bytes")[2]
        assert bool(share > 1) is far


def test_a_graph_that_only_moves_data_copies_it() -> None:
    features, data = _made(lambda b, x: b.concat([x, b.input((1, 16, 16, 8))]))
    theirs = compile_model(data, {"device": "ethos-u55-128", "layers": False})["total_cycles"]
    cycles = max(features.cost("cycles_u55_128")[0], features.cost("near_u55_128")[0] / 8)
    assert 0.5 < cycles / theirs < 2


def test_padding_for_a_convolution_alone_is_part_of_it() -> None:
    pads = ((0, 0), (1, 1), (1, 1), (0, 0))
    features, _ = _made(lambda b, x: b.conv(b.pad(x, pads), 8, kernel=3, padding="valid"))
    assert features.cost("cycles_u55_128")[_row(features, "PAD")] == LEAST_CYCLES
    more, _ = _made(lambda b, x: b.tanh(b.pad(x, pads)))
    assert more.cost("cycles_u55_128")[_row(more, "PAD")] > LEAST_CYCLES


def test_what_leaves_the_graph_as_well_is_padded_and_joined_for_itself() -> None:
    b = Builder(dtype="int8", seed=3)
    padded = b.pad(b.conv(b.input((1, 16, 16, 16)), 16), ((0, 0), (1, 1), (1, 1), (0, 0)))
    part = b.conv(padded, 16, kernel=3, padding="valid")
    joined = b.concat([part, b.conv(padded, 16, kernel=3, padding="valid")])
    for tensor in (padded, part, b.conv(joined, 8)):
        b.output(tensor)
    features = extract_features(read_graph(b.finish()))
    for name in ("PAD", "CONCATENATION"):
        assert features.cost("cycles_u55_128")[_row(features, name)] > LEAST_CYCLES


def test_floats_are_left_to_the_cpu() -> None:
    b = Builder(dtype="float32", seed=3)
    b.output(b.conv(b.input((1, 8, 8, 4)), 8))
    features = extract_features(read_graph(b.finish()))
    assert np.all(features.cost("cycles_u85_1024") == 0)


@pytest.mark.parametrize("device", ["ethos-u55-32", "ethos-u55-256", "ethos-u65-256"])
@pytest.mark.parametrize(("shape", "size"), [((1, 20, 20, 48), (40, 40)), ((1, 1, 1, 16), (20, 20))])
def test_doubling_in_phases_takes_as_long_as_vela_says(
    device: str, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    b = Builder(dtype="int8", seed=3)
    x = b.resize_bilinear(b.conv(b.input(shape), shape[-1]), size, half_pixel=True)
    b.output(b.conv(x, 8))
    types, ours, theirs = operator_cycles(device, b.finish())
    row = list(types).index("RESIZE_BILINEAR")
    assert ours[row] == pytest.approx(theirs[row], rel=0.04)


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u85-256"])
def test_groups_of_one_channel_are_a_depthwise_convolution(device: str) -> None:
    b = Builder(dtype="int8", seed=3)
    x = b.conv(b.input((1, 40, 40, 8)), 8)
    b.output(b.conv(b.conv(x, 8, kernel=3, stride=2, groups=8), 8))
    _, ours, theirs = operator_cycles(device, b.finish())
    assert ours[1] == pytest.approx(theirs[1], rel=0.02)
