"""Super-resolution: ESPCN (arXiv:1609.05158), FSRCNN (arXiv:1608.00367) and their lightweight successors.

Fully convolutional networks on low-resolution images of 16 to 128 pixels, upscaled 2 to 4 times by
DEPTH_TO_SPACE, TRANSPOSE_CONV or RESIZE.
"""

from __future__ import annotations

from dataset.builder import Builder, Dtype, Tensor
from dataset.draws import Draws
from dataset.spaces.blocks import Block, conv
from dataset.spaces.classification import draw_weights, start
from dataset.spaces.space import Architecture, BuiltNetwork
from dataset.spaces.staged import ACTIVATION_WEIGHTS, ACTIVATIONS, draw_block
from dataset.spaces.vision_blocks import VISION_BLOCKS

_FORMAT = 1
"""Part of every label: networks of a seed may only change together with this number."""
_FAMILIES: dict[str, tuple[str, ...]] = {
    "espcn": ("conv",),
    "fsrcnn": ("conv",),
    "residual": ("residual", "separable"),
    "dense": ("dense",),
    "mobile": ("separable", "inverted"),
    "mixed": (
        "conv",
        "residual",
        "separable",
        "inverted",
        "dense",
        "gate",
        "branches",
        "pad_conv",
        "shuffle",
    ),
}
_FAMILY_WEIGHTS = (4, 4, 4, 1, 3, 5)
_SIDES = (16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
_WIDTHS = (8, 12, 16, 24, 28, 32, 48, 56, 64)


class SuperResolution:
    """The space `super_resolution`."""

    name = "super_resolution"

    def sample(self, seed: int) -> Architecture:
        """Return input, stem, blocks and the way of upscaling."""
        draws = Draws(f"super_resolution {_FORMAT} {seed}")
        family = draws.choice(tuple(_FAMILIES), _FAMILY_WEIGHTS)
        channels = draws.choice((1, 3))
        rows = draws.choice(_SIDES)
        columns = rows if draws.chance(0.7) else draws.choice(_SIDES)
        activation = draws.choice(ACTIVATIONS, ACTIVATION_WEIGHTS)
        width = draws.choice(_WIDTHS)
        return {
            "input": [rows, columns, channels],
            "family": family,
            **draw_weights(draws),
            "stem": {
                "filters": width,
                "kernel": draws.choice(([3, 3], [5, 5], [9, 9])),
                "activation": activation,
            },
            "shrink": draws.choice((8, 12, 16)) if family == "fsrcnn" else 0,
            "blocks": _blocks(draws, _FAMILIES[family], width, activation),
            "long_shortcut": draws.chance(0.4),
            "upscale": _upscale(draws, family),
        }

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        architecture = self.sample(seed)
        b, first = start(self.name, architecture, seed, dtype)
        x = (
            b.conv(first, architecture["shrink"], kernel=1, activation="relu")
            if architecture["shrink"]
            else first
        )
        for block in architecture["blocks"]:
            x = VISION_BLOCKS[block["kind"]](b, x, block)
        # A 2 x 2 kernel after explicit padding takes a row and a column away: nothing to add then.
        if architecture["long_shortcut"] and x.shape[1:3] == first.shape[1:3]:
            x = b.add(x if x.shape == first.shape else b.conv(x, first.shape[-1], kernel=1), first)
        b.output(_enlarge(b, x, architecture["upscale"], architecture["input"][2]))
        return BuiltNetwork(b.finish(), architecture, architecture["family"])


def _blocks(draws: Draws, kinds: tuple[str, ...], width: int, activation: str) -> list[Block]:
    blocks = []
    for _ in range(draws.between(1, 8)):
        block = draw_block(draws, draws.choice(kinds), width, activation)
        if block["kind"] == "dense":
            block["layers"] = 2
        blocks.append(block)
    return blocks


def _upscale(draws: Draws, family: str) -> Block:
    usual = "transpose_conv" if family == "fsrcnn" else "depth_to_space"
    return {
        "way": usual
        if draws.chance(0.6)
        else draws.choice(("transpose_conv", "depth_to_space", "bilinear", "nearest")),
        "factor": draws.choice((2, 3, 4), (4, 2, 2)),
        "kernel": draws.choice((3, 4, 5, 9)),
        "activation": draws.choice(("none", "tanh", "logistic"), (6, 1, 1)),
    }


def _enlarge(b: Builder, x: Tensor, p: Block, channels: int) -> Tensor:
    """Return an image `factor` times as large with the input's channels."""
    factor = p["factor"]
    if p["way"] == "transpose_conv":
        y = b.transpose_conv(x, channels, kernel=max(p["kernel"], factor), stride=factor)
    elif p["way"] == "depth_to_space":
        y = b.depth_to_space(b.conv(x, channels * factor * factor, kernel=3), factor)
    else:
        resize = b.resize_bilinear if p["way"] == "bilinear" else b.resize_nearest
        y = resize(x, (x.shape[1] * factor, x.shape[2] * factor))
        y = conv(b, y, {"filters": channels, "activation": "none"})
    if p["activation"] == "none":
        return y
    return b.tanh(y) if p["activation"] == "tanh" else b.logistic(y)


SPACE = SuperResolution()
