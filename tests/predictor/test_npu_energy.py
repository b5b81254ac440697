"""What energy comes from, MACs and bytes of each memory, beside what Vela itself counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataset.builder import Builder
from perfsage.features import extract_features
from perfsage.graph import read_graph
from profilers.npu.tasks import compile_model


def _dilated(b: Builder) -> None:
    b.output(b.conv(b.input((1, 12, 12, 16)), 24, kernel=3, dilation=6))


def _softmax(b: Builder) -> None:
    b.output(b.softmax(b.conv(b.input((1, 20, 24, 8)), 21)))


def _added(b: Builder) -> None:
    x = b.conv(b.input((1, 16, 16, 24)), 32)
    b.output(b.conv(b.add(x, b.conv(x, 32, kernel=3)), 8))


def _copied(b: Builder) -> None:
    x = b.input((1, 24, 24, 16))
    for _ in range(4):
        x = b.conv(x, 32, kernel=3)
    b.output(x)


def _resized(b: Builder) -> None:
    x = b.conv(b.input((1, 16, 16, 16)), 32, stride=2)
    y = b.conv(b.input((1, 16, 16, 16)), 32)
    b.output(b.conv(b.add(y, b.resize_bilinear(x, (16, 16))), 8))


def _gated(b: Builder) -> None:
    x = b.conv(b.input((1, 96, 96, 8)), 48)
    b.output(b.conv(b.mul(x, b.logistic(x)), 8))


def _moved(memory: dict[str, int]) -> int:
    return memory["read_bytes"] + memory["written_bytes"]


@pytest.mark.parametrize("device", ["ethos-u55-128", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024"])
@pytest.mark.parametrize("build", [_dilated, _softmax, _added, _copied, _resized, _gated])
def test_memories_are_read_and_written_as_often_as_vela_counts(
    build: Callable[[Builder], None], device: str
) -> None:
    b = Builder(dtype="int8", seed=5)
    build(b)
    data = b.finish()
    features, name = extract_features(read_graph(data)), device.removeprefix("ethos-").replace("-", "_")
    theirs = compile_model(data, {"device": device, "layers": False})["memories"]
    assert features.cost(f"sram_{name}").sum() == pytest.approx(_moved(theirs["sram"]), rel=0.01)
    outside = theirs.get("dram") or theirs["offchipflash"]
    assert features.cost(f"far_{name}").sum() == pytest.approx(_moved(outside), rel=0.03)


@pytest.mark.parametrize(("dilation", "times"), [(1, 1.0), (2, 1.0), (3, 49 / 9), (6, 49 / 9)])
def test_zeros_of_wide_kernels_are_multiplied_as_well(dilation: int, times: float) -> None:
    b = Builder(dtype="int8", seed=5)
    b.output(b.conv(b.input((1, 24, 24, 16)), 24, kernel=3, dilation=dilation))
    data = b.finish()
    features = extract_features(read_graph(data))
    spanned = features.cost("spanned_macs_u55")[0]
    assert spanned == pytest.approx(times * features.cost("macs")[0])
    theirs = compile_model(data, {"device": "ethos-u55-128", "layers": False})["macs"]
    assert spanned == pytest.approx(theirs)


def test_zeros_between_what_a_transposed_convolution_reads_are_multiplied_as_well() -> None:
    b = Builder(dtype="int8", seed=5)
    b.output(b.transpose_conv(b.input((1, 12, 12, 16)), 24, kernel=3, stride=2))
    data = b.finish()
    spanned = extract_features(read_graph(data)).cost("spanned_macs_u55")[0]
    theirs = compile_model(data, {"device": "ethos-u55-128", "layers": False})["macs"]
    assert spanned == pytest.approx(theirs)
