"""Draws backbones: stages of blocks in which resolution falls and width grows."""

from __future__ import annotations

from dataset.draws import Draws
from dataset.spaces.blocks import Block

ACTIVATIONS = ("relu", "relu6", "hard_swish", "swish", "leaky_relu", "none")
ACTIVATION_WEIGHTS = (8, 8, 3, 2, 1, 1)
_WIDEST = (256, 512, 960)
_WIDEST_WEIGHTS = (5, 3, 1)
_WIDEST_OF_FULL_CONVOLUTIONS = 256
"""A 3 x 3 convolution of 960 channels alone would hold 8 MB; real ones that wide are 1 x 1."""
_FULL_CONVOLUTIONS = ("conv", "pad_conv", "residual", "fused_inverted", "branches", "inception", "aspp")
_KERNELS = ([3, 3], [5, 5], [7, 7], [1, 1], [1, 3], [3, 1], [9, 9], [2, 2])
_KERNEL_WEIGHTS = (24, 8, 3, 2, 1, 1, 1, 1)


def backbone(draws: Draws, kinds: tuple[str, ...], size: int, width: int, stages: int) -> list[Block]:
    """Return blocks of `stages` stages for an image of `size` pixels (its shorter side) after the stem.

    Each stage but sometimes the first halves the resolution while at least 2 pixels are left, and widens.
    """
    activation = draws.choice(ACTIVATIONS, ACTIVATION_WEIGHTS)
    widest = draws.choice(_WIDEST, _WIDEST_WEIGHTS)
    blocks: list[Block] = []
    for stage in range(stages):
        halve = size > 3 and (stage > 0 or draws.chance(0.7))
        size = (size + 1) // 2 if halve else size
        width = min(widest, _multiple(width * draws.choice((1.0, 1.25, 1.5, 2.0), (3, 3, 3, 2))))
        kind = draws.choice(kinds)
        for index in range(draws.choice((1, 2, 3, 4), (4, 4, 2, 1))):
            if draws.chance(0.15):
                kind = draws.choice(kinds)
            stride = 2 if halve and index == 0 else 1
            blocks.extend(_strided(draws, kind, width, stride, activation))
    return blocks


def _multiple(width: float) -> int:
    return max(8, round(width / 8) * 8)


def _strided(draws: Draws, kind: str, width: int, stride: int, activation: str) -> list[Block]:
    """Return one block; kinds that cannot stride are preceded by a pool or a strided convolution."""
    block = draw_block(draws, kind, width, activation)
    if "stride" in block:
        block["stride"] = [stride, stride]
        if stride > 1:
            block.pop("dilation", None)
        return [block]
    if stride == 1:
        return [block]
    if draws.chance(0.7):
        kernel = draws.choice(([2, 2], [3, 3]))
        return [
            {"kind": "pool", "pool": draws.choice(("max", "average")), "kernel": kernel, "stride": [2, 2]},
            block,
        ]
    return [
        {"kind": "conv", "filters": width, "kernel": [3, 3], "stride": [2, 2], "activation": activation},
        block,
    ]


def draw_block(draws: Draws, kind: str, width: int, activation: str) -> Block:
    """Return a block of `kind` near `width` channels with attributes wider than architects' usual ones."""
    if kind in _FULL_CONVOLUTIONS:
        width = min(width, _WIDEST_OF_FULL_CONVOLUTIONS)
    block: Block = {"kind": kind, "filters": width, "activation": activation}
    block["kernel"] = draws.choice(_KERNELS, _KERNEL_WEIGHTS)
    if kind in (
        "conv",
        "pad_conv",
        "depthwise",
        "separable",
        "residual",
        "inverted",
        "fused_inverted",
        "bottleneck",
    ):
        block["stride"] = [1, 1]
        if draws.chance(0.08):
            rate = draws.choice((2, 3, 4, 6, 12))
            block["dilation"] = [rate, rate]
    _EXTRA.get(kind, _nothing)(draws, block)
    return block


def _nothing(draws: Draws, block: Block) -> None:
    """Most kinds need no more."""


def _pool(draws: Draws, block: Block) -> None:
    block["pool"] = draws.choice(("max", "average"))
    block["kernel"] = draws.choice(([2, 2], [3, 3], [5, 5]))
    block["stride"] = [1, 1]


def _inverted(draws: Draws, block: Block) -> None:
    block["expansion"] = draws.choice((1, 2, 3, 4, 6), (2, 2, 2, 2, 4))
    block["squeeze"] = draws.choice((0, 4, 8, 16), (7, 2, 1, 1))
    block["pad"] = draws.chance(0.15)


def _fused_inverted(draws: Draws, block: Block) -> None:
    block["expansion"] = draws.choice((1, 2, 4))


def _separable(draws: Draws, block: Block) -> None:
    block["residual"] = draws.chance(0.2)
    block["squeeze"] = draws.choice((0, 4), (8, 1))


def _depthwise(draws: Draws, block: Block) -> None:
    block["multiplier"] = draws.choice((1, 2), (5, 1))


def _bottleneck(draws: Draws, block: Block) -> None:
    block["groups"] = draws.choice((1, 2, 4, 8), (6, 1, 1, 1))


def _dense(draws: Draws, block: Block) -> None:
    block["growth"] = draws.choice((8, 12, 16, 24, 32))
    block["layers"] = draws.between(2, 5)


def _inception(draws: Draws, block: Block) -> None:
    block["factorized"] = draws.chance(0.3)
    block["pool"] = draws.choice(("max", "average"))


def _aspp(draws: Draws, block: Block) -> None:
    block["filters"] = max(8, block["filters"] // 2)
    block["rates"] = draws.choice(([6, 12, 18], [2, 4], [3, 6, 9], [1, 2, 3], [12]))


def _branches(draws: Draws, block: Block) -> None:
    block["filters"] = max(8, block["filters"] // 2)
    block["kernels"] = draws.choice(
        ([[1, 1], [3, 3]], [[3, 3], [5, 5]], [[1, 1], [3, 3], [5, 5]], [[1, 5], [5, 1]])
    )


def _crop(draws: Draws, block: Block) -> None:
    block["margin"] = draws.between(0, 2)
    block["step"] = draws.choice((1, 2), (3, 1)) if block["margin"] else 2


def _standalone(draws: Draws, block: Block) -> None:
    block["function"] = draws.choice(
        ("relu", "relu6", "hard_swish", "logistic", "tanh", "leaky_relu", "swish")
    )


_EXTRA = {
    "pool": _pool,
    "inverted": _inverted,
    "fused_inverted": _fused_inverted,
    "separable": _separable,
    "depthwise": _depthwise,
    "bottleneck": _bottleneck,
    "dense": _dense,
    "inception": _inception,
    "aspp": _aspp,
    "branches": _branches,
    "crop": _crop,
    "standalone": _standalone,
}
