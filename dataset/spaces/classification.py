"""Image classification: twelve families from MobileNet to small vision transformers, and mixtures of them.

Inputs run from 28 x 28 x 1 to 240 x 320 x 1 and 224 x 224 x 3. Widths fall as resolution rises, so that no
network is beyond what edge devices run.
"""

from __future__ import annotations

from dataset.builder import Builder, Dtype, Tensor
from dataset.draws import Draws
from dataset.spaces.attention import tokens, transformer
from dataset.spaces.blocks import Block, classify, conv
from dataset.spaces.space import Architecture, BuiltNetwork
from dataset.spaces.staged import ACTIVATION_WEIGHTS, ACTIVATIONS, backbone
from dataset.spaces.vision_blocks import VISION_BLOCKS

_FORMAT = 1
"""Part of every label: networks of a seed may only change together with this number."""
_INPUTS = (
    (28, 28, 1), (32, 32, 3), (48, 48, 1), (64, 64, 3), (80, 80, 3), (84, 84, 1), (96, 96, 1), (96, 96, 3),
    (128, 128, 3), (160, 160, 3), (192, 192, 3), (224, 224, 3), (240, 320, 1), (180, 180, 1),
)  # fmt: skip
_INPUT_WEIGHTS = (4, 10, 4, 8, 4, 2, 6, 9, 5, 3, 2, 3, 1, 1)
_FAMILIES: dict[str, tuple[str, ...]] = {
    "mobilenet": ("separable",),
    "inverted": ("inverted",),
    "efficient": ("inverted", "inverted", "fused_inverted"),
    "resnet": ("residual", "residual", "bottleneck"),
    "plain": ("conv", "conv", "pad_conv", "pool"),
    "squeeze": ("fire",),
    "shuffle": ("shuffle",),
    "dense": ("dense",),
    "inception": ("inception", "branches"),
    "transformer": ("conv", "separable"),
    "mixed": (
        "separable", "separable", "inverted", "inverted", "inverted", "fused_inverted", "residual",
        "residual", "bottleneck", "conv", "conv", "pad_conv", "fire", "shuffle", "dense", "inception",
        "branches", "depthwise", "depthwise", "gate", "aspp", "crop", "standalone", "pool",
    ),
}  # fmt: skip
_FAMILY_WEIGHTS = (8, 12, 7, 6, 4, 2, 2, 1, 2, 3, 16)


class Classification:
    """The space `classification`."""

    name = "classification"

    def sample(self, seed: int) -> Architecture:
        """Return input, stem, blocks, perhaps transformer layers, and head."""
        draws = Draws(f"classification {_FORMAT} {seed}")
        shape = draws.choice(_INPUTS, _INPUT_WEIGHTS)
        family = draws.choice(tuple(_FAMILIES), _FAMILY_WEIGHTS)
        architecture: Architecture = {"input": list(shape), "family": family, **draw_weights(draws)}
        architecture["stem"], size, width = draw_stem(draws, shape)
        stages = draws.between(1, 2) if family == "transformer" else draws.between(2, 5)
        architecture["blocks"] = backbone(draws, _FAMILIES[family], size, width, stages)
        if family == "transformer":
            architecture["transformer"] = draw_transformer(draws)
        architecture["head"] = _head(draws)
        return architecture

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        architecture = self.sample(seed)
        b, x = start(self.name, architecture, seed, dtype)
        for block in architecture["blocks"]:
            x = VISION_BLOCKS[block["kind"]](b, x, block)
        if "transformer" in architecture:
            b.output(_transform(b, x, architecture))
        else:
            b.output(classify(b, x, _affordable(architecture["head"], x)))
        return BuiltNetwork(b.finish(), architecture, architecture["family"])


def start(space: str, architecture: Architecture, seed: int, dtype: Dtype) -> tuple[Builder, Tensor]:
    """Return a builder that holds the input and the stem, and the stem's output."""
    weights = {name: architecture[name] for name in ("sparsity", "spread")}
    b = Builder(dtype=dtype, seed=seed, description=f"{space} {seed}", **weights)
    return b, conv(b, b.input((1, *architecture["input"])), architecture["stem"])


def draw_weights(draws: Draws) -> Architecture:
    """Return how the weights look: most networks are dense, some pruned; scales are tight or stretched."""
    return {
        "sparsity": draws.choice((0.0, 0.3, 0.5, 0.7, 0.9), (14, 2, 2, 1, 1)),
        "spread": draws.choice((1.0, 0.8, 0.6, 0.4, 0.2), (6, 4, 4, 3, 1)),
    }


def draw_stem(draws: Draws, shape: tuple[int, int, int]) -> tuple[Block, int, int]:
    """Return the stem, the shorter side of its output, and its width."""
    size = min(shape[:2])
    stride = draws.choice((1, 2), (3, 2)) if size < 64 else draws.choice((2, 4), (6, 1))
    widths = (8, 16, 24, 32, 40, 64) if size <= 96 else (8, 16, 24, 32)
    width = draws.choice(widths)
    stem: Block = {
        "filters": width,
        "kernel": draws.choice(([3, 3], [5, 5], [7, 7], [4, 4]), (6, 2, 1, 1)),
        "stride": [stride, stride],
        "activation": draws.choice(ACTIVATIONS, ACTIVATION_WEIGHTS),
    }
    return stem, -(-size // stride), width


def draw_transformer(draws: Draws) -> Architecture:
    """Return layers of attention over at most a few hundred tokens."""
    heads = draws.choice((1, 2, 3, 4))
    return {
        "layers": draws.between(1, 4),
        "width": heads * draws.choice((16, 24, 32, 48)),
        "block": {
            "heads": heads,
            "expansion": draws.choice((1, 2, 4)),
            "norm": draws.choice(("before", "after")),
            "activation": draws.choice(("gelu", "relu", "hard_swish")),
        },
    }


_MOST_TOKENS = 200


def _transform(b: Builder, x: Tensor, architecture: Architecture) -> Tensor:
    """Reduce the image to tokens, mix them, classify their mean."""
    settings = architecture["transformer"]
    factor = 1
    while -(-x.shape[1] // factor) * -(-x.shape[2] // factor) > _MOST_TOKENS:
        factor += 1
    kernel = (min(factor, x.shape[1]), min(factor, x.shape[2]))
    x = b.conv(x, settings["width"], kernel=kernel, stride=kernel)
    y = tokens(b, x)
    for _ in range(settings["layers"]):
        y = transformer(b, y, settings["block"])
    return classify(b, b.mean(y, axes=(1,)), {**architecture["head"], "reduce": "none"})


def _head(draws: Draws) -> Block:
    return {
        "reduce": draws.choice(("mean", "average_pool", "flatten"), (5, 4, 1)),
        "hidden": [draws.choice((32, 64, 128, 256)) for _ in range(draws.choice((0, 1, 2), (7, 2, 1)))],
        "classes": draws.choice((2, 10, 62, 100, 200, 1000), (5, 6, 1, 3, 1, 3)),
        "softmax": draws.chance(0.7),
    }


_MOST_FLAT_FEATURES = 8192


def _affordable(head: Block, x: Tensor) -> Block:
    """Take the mean instead where flattening would make most of the network a single matrix."""
    too_many = x.shape[1] * x.shape[2] * x.shape[3] > _MOST_FLAT_FEATURES
    return {**head, "reduce": "mean"} if too_many and head["reduce"] == "flatten" else head


SPACE = Classification()
