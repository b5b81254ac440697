"""Keyword spotting as a sequence: temporal convolutions, recurrent layers, attention, and perceptrons.

TC-ResNet (arXiv:1904.03814) treats the spectrum as channels; recurrent families read it frame by frame;
KWT (arXiv:2104.00769) attends over frames; the perceptron family is that of MLPerf Tiny's anomaly detector.
"""

from __future__ import annotations

from dataset.builder import Builder, Tensor
from dataset.draws import Draws
from dataset.spaces.attention import transformer
from dataset.spaces.blocks import BLOCKS, Block
from dataset.spaces.space import Architecture

FAMILIES = ("tc_resnet", "lstm", "gru", "attention", "perceptron")
WEIGHTS = (4, 1, 1, 2, 2)
_FRAMES = (16, 25, 30, 49, 61, 98)
_BANDS = (10, 13, 16, 40, 64)
_WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)


def sample(draws: Draws, family: str) -> Architecture:
    """Return the parts of an architecture that are the family's own."""
    return _SAMPLERS[family](draws)


def build(b: Builder, architecture: Architecture) -> Tensor:
    """Return the features that a classifier takes: [1, features], or an image for temporal convolutions."""
    return _BUILDERS[architecture["family"]](b, architecture)


def _sample_tc_resnet(draws: Draws) -> Architecture:
    width = draws.choice(_WIDTHS)
    kind = draws.choice(("residual", "separable", "conv"), (4, 3, 2))
    blocks = []
    for index in range(draws.between(2, 10)):
        width = width if draws.chance(0.6) else draws.choice(_WIDTHS)
        blocks.append(_temporal(draws, kind, width, 2 if index % 2 else 1))
    return {
        "input": [draws.choice((30, 49, 98, 118, 248)), 1, draws.choice((13, 40, 64, 104, 108))],
        "blocks": [_temporal(draws, "conv", width, 1), *blocks],
    }


def _temporal(draws: Draws, kind: str, width: int, stride: int) -> Block:
    block: Block = {"kind": kind, "filters": width, "activation": draws.choice(("relu", "relu6"))}
    block["kernel"] = [draws.choice((1, 3, 5, 7, 9, 11)), 1]
    block["stride"] = [draws.choice((1, stride)), 1]
    if kind == "separable":
        block["residual"] = draws.chance(0.5)
    if block["stride"] == [1, 1] and draws.chance(0.2):
        block["dilation"] = [draws.choice((2, 4, 8)), 1]
    return block


def _build_tc_resnet(b: Builder, architecture: Architecture) -> Tensor:
    x = b.input((1, *architecture["input"]))
    for block in architecture["blocks"]:
        x = BLOCKS[block["kind"]](b, x, block)
    return x


def _sample_recurrent(draws: Draws) -> Architecture:
    return {
        "input": [draws.choice(_FRAMES), draws.choice(_BANDS)],
        "units": [draws.choice((8, 16, 20, 32, 48, 64, 128)) for _ in range(draws.between(1, 2))],
        "reduce": draws.choice(("last", "mean", "flatten")),
    }


def _build_lstm(b: Builder, architecture: Architecture) -> Tensor:
    x = b.input((1, *architecture["input"]))
    for units in architecture["units"]:
        x = b.lstm(x, units)
    return _reduce(b, x, architecture["reduce"])


def _sample_gru(draws: Draws) -> Architecture:
    steps, bands = draws.choice((4, 6, 8, 10)), draws.choice(_BANDS)
    return {"input": [steps, bands], "units": [draws.choice((8, 16, 32, 64))]}


def _build_gru(b: Builder, architecture: Architecture) -> Tensor:
    """Unroll a gated recurrent unit, each step in plain operators, as converters do."""
    steps, bands = architecture["input"]
    (units,) = architecture["units"]
    x = b.input((1, steps, bands))
    state: Tensor | None = None
    for step in range(steps):
        frame = b.reshape(b.strided_slice(x, (0, step, 0), (1, step + 1, bands)), (1, bands))
        state = _gru_step(b, frame, state, units)
    assert state is not None
    return state


def _gru_step(b: Builder, frame: Tensor, state: Tensor | None, units: int) -> Tensor:
    update, candidate = b.split(b.fully_connected(frame, 2 * units), 2)
    if state is None:
        return b.mul(b.logistic(update), b.tanh(candidate))
    past = b.split(b.fully_connected(state, 3 * units), 3)
    gate = b.logistic(b.add(update, past[0]))
    reset = b.logistic(past[1])
    fresh = b.tanh(b.add(candidate, b.mul(reset, past[2])))
    return b.add(fresh, b.mul(gate, b.sub(state, fresh)))


def _sample_attention(draws: Draws) -> Architecture:
    heads = draws.choice((1, 2, 3))
    return {
        "input": [draws.choice(_FRAMES), draws.choice((13, 40, 64))],
        "width": heads * draws.choice((16, 24, 32, 64)),
        "layers": draws.between(1, 4),
        "block": {
            "heads": heads,
            "expansion": draws.choice((1, 2, 4)),
            "norm": draws.choice(("before", "after")),
            "activation": draws.choice(("gelu", "relu")),
        },
        "reduce": draws.choice(("last", "mean")),
    }


def _build_attention(b: Builder, architecture: Architecture) -> Tensor:
    x = b.fully_connected(b.input((1, *architecture["input"])), architecture["width"])
    for _ in range(architecture["layers"]):
        x = transformer(b, x, architecture["block"])
    return _reduce(b, x, architecture["reduce"])


def _sample_perceptron(draws: Draws) -> Architecture:
    hidden = draws.choice((16, 32, 64, 128, 256, 512))
    narrow = draws.choice((4, 8, 16, 32))
    depth = draws.between(1, 5)
    mirror = draws.chance(0.6)
    return {
        "input": [draws.choice((96, 140, 256, 392, 640, 1960))],
        "units": [hidden] * depth + [narrow] + [hidden] * (depth if mirror else 0),
        "activation": draws.choice(("relu", "relu6", "none")),
    }


def _build_perceptron(b: Builder, architecture: Architecture) -> Tensor:
    x = b.input((1, *architecture["input"]))
    for units in architecture["units"]:
        x = b.fully_connected(x, units, activation=architecture["activation"])
    return x


def _reduce(b: Builder, x: Tensor, how: str) -> Tensor:
    _, frames, channels = x.shape
    if how == "mean":
        return b.mean(x, axes=(1,))
    if how == "last":
        return b.reshape(b.strided_slice(x, (0, frames - 1, 0), (1, frames, channels)), (1, channels))
    return b.reshape(x, (1, frames * channels))


_SAMPLERS = {
    "tc_resnet": _sample_tc_resnet,
    "lstm": _sample_recurrent,
    "gru": _sample_gru,
    "attention": _sample_attention,
    "perceptron": _sample_perceptron,
}
_BUILDERS = {
    "tc_resnet": _build_tc_resnet,
    "lstm": _build_lstm,
    "gru": _build_gru,
    "attention": _build_attention,
    "perceptron": _build_perceptron,
}
