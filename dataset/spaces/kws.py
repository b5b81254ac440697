"""Keyword spotting on microcontrollers: DS-CNN and its relatives over spectrograms, and sequence models.

After "Hello Edge: Keyword Spotting on Microcontrollers" (arXiv:1711.07128) and MLPerf Tiny's keyword
spotting reference (49 x 10 x 1, 12 classes), with kernels, strides, dilations, widths and blocks sampled
well beyond both.
"""

from __future__ import annotations

from dataset.builder import Builder, Dtype, Tensor
from dataset.draws import Draws
from dataset.spaces import kws_sequences
from dataset.spaces.blocks import Block, add_block, classify
from dataset.spaces.space import Architecture, BuiltNetwork

_INPUTS = (
    (49, 10, 1),
    (49, 40, 1),
    (98, 40, 1),
    (61, 13, 1),
    (32, 32, 1),
    (99, 13, 1),
    (124, 64, 1),
    (43, 40, 1),
)
_INPUT_WEIGHTS = (6, 3, 2, 2, 2, 2, 1, 2)
_WIDTHS = (8, 12, 16, 24, 32, 40, 48, 64, 76, 96, 128, 172, 276)
_ACTIVATIONS = ("relu", "relu6", "hard_swish", "swish", "leaky_relu", "none")
_ACTIVATION_WEIGHTS = (8, 4, 2, 1, 1, 1)
_FAMILIES = ("ds_cnn", "cnn", "residual", "mixed", *kws_sequences.FAMILIES)
_FAMILY_WEIGHTS = (6, 3, 3, 6, *kws_sequences.WEIGHTS)
_FAMILY_KINDS = {
    "ds_cnn": ("separable",),
    "cnn": ("conv", "conv", "pool"),
    "residual": ("residual", "residual", "separable"),
    "mixed": ("separable", "conv", "residual", "branches", "depthwise", "pool"),
}
_MOST_FLAT_FEATURES = 8192
_WIDEST_WITH_LARGE_KERNELS = 96
_FORMAT = 1
"""Part of every label: networks of a seed may only change together with this number."""


class KeywordSpotting:
    """The space `kws`."""

    name = "kws"

    def sample(self, seed: int) -> Architecture:
        """Return an architecture of one family: input, layers and head."""
        draws = Draws(f"kws {_FORMAT} {seed}")
        family = draws.choice(_FAMILIES, _FAMILY_WEIGHTS)
        weights = {
            "sparsity": draws.choice((0.0, 0.3, 0.6, 0.85), (7, 1, 1, 1)),
            "spread": draws.choice((1.0, 0.8, 0.6, 0.4, 0.2), (6, 4, 4, 3, 1)),
        }
        body = kws_sequences.sample if family in kws_sequences.FAMILIES else _sample_image
        return {"family": family, **weights, **body(draws, family), "head": _head(draws)}

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        architecture = self.sample(seed)
        weights = {name: architecture[name] for name in ("sparsity", "spread")}
        b = Builder(dtype=dtype, seed=seed, description=f"kws {seed}", **weights)
        is_sequence = architecture["family"] in kws_sequences.FAMILIES
        x = kws_sequences.build(b, architecture) if is_sequence else _build_image(b, architecture)
        b.output(classify(b, x, _affordable(architecture["head"], x)))
        return BuiltNetwork(b.finish(), architecture, architecture["family"])


def _sample_image(draws: Draws, family: str) -> Architecture:
    """Return stem and 1 to 9 blocks over a spectrogram; families differ in the blocks they use."""
    activation = draws.choice(_ACTIVATIONS, _ACTIVATION_WEIGHTS)
    width = draws.choice(_WIDTHS)
    return {
        "input": list(draws.choice(_INPUTS, _INPUT_WEIGHTS)),
        "stem": _stem(draws, width, activation),
        "blocks": [_block(draws, family, width, activation) for _ in range(draws.between(1, 9))],
    }


def _build_image(b: Builder, architecture: Architecture) -> Tensor:
    x = add_block(b, b.input((1, *architecture["input"])), architecture["stem"])
    for block in architecture["blocks"]:
        x = add_block(b, x, block)
    return x


def _affordable(head: Block, x: Tensor) -> Block:
    """Take the mean instead where flattening would make most of the network a single matrix."""
    if len(x.shape) == 2:
        return {**head, "reduce": "none"}
    too_many = x.shape[1] * x.shape[2] * x.shape[3] > _MOST_FLAT_FEATURES
    return {**head, "reduce": "mean"} if too_many and head["reduce"] == "flatten" else head


def _stem(draws: Draws, width: int, activation: str) -> Block:
    return {
        "kind": "conv",
        "filters": width,
        "kernel": [draws.choice((3, 4, 5, 7, 8, 10)), draws.choice((3, 4, 5, 8))],
        "stride": [draws.choice((1, 2, 3), (2, 5, 1)), draws.choice((1, 2), (1, 2))],
        "padding": "same",
        "activation": activation,
    }


def _block(draws: Draws, family: str, width: int, activation: str) -> Block:
    kind = draws.choice(_FAMILY_KINDS[family])
    if kind == "pool":
        return _pool(draws)
    filters = width if draws.chance(0.5) else draws.choice(_WIDTHS)
    block: Block = {"kind": kind, "filters": filters, "activation": activation, "stride": _stride(draws)}
    block["kernel"] = _kernel(draws, filters)
    if block["stride"] == [1, 1] and draws.chance(0.15):
        block["dilation"] = [draws.choice((2, 3, 4)), draws.choice((1, 2))]
    if kind == "separable":
        block["residual"] = draws.chance(0.3)
        block["squeeze"] = draws.choice((0, 4, 8), (6, 1, 1))
    if kind == "depthwise":
        block["multiplier"] = draws.choice((1, 2, 3), (4, 1, 1)) if width <= 64 else 1
    if kind == "branches":
        block["kernels"] = [[1, 1], [3, 3], [draws.choice((5, 7)), draws.choice((1, 5))]][
            : draws.between(2, 3)
        ]
        block["filters"] = max(8, filters // 2)
    return block


def _kernel(draws: Draws, filters: int) -> list[int]:
    if filters > _WIDEST_WITH_LARGE_KERNELS:
        return [draws.choice((1, 3)), draws.choice((1, 3))]
    return [draws.choice((1, 3, 5, 7, 9), (1, 6, 2, 1, 1)), draws.choice((1, 3, 5), (2, 6, 1))]


def _stride(draws: Draws) -> list[int]:
    return draws.choice(([1, 1], [2, 1], [1, 2], [2, 2]), (9, 1, 1, 2))


def _pool(draws: Draws) -> Block:
    kernel = [draws.choice((2, 3)), draws.choice((1, 2, 3))]
    return {
        "kind": "pool",
        "pool": draws.choice(("max", "average")),
        "kernel": kernel,
        "stride": _stride(draws),
    }


def _head(draws: Draws) -> Block:
    hidden = [draws.choice((32, 64, 128, 256)) for _ in range(draws.choice((0, 1, 2), (5, 2, 1)))]
    return {
        "reduce": draws.choice(("mean", "average_pool", "flatten"), (3, 3, 2)),
        "hidden": hidden,
        "classes": draws.choice((2, 3, 4, 6, 10, 12, 30, 35)),
        "softmax": draws.chance(0.8),
    }


SPACE = KeywordSpotting()
