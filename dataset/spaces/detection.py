"""Detection and dense prediction: SSDLite heads, feature pyramids and DeepLab heads over a backbone.

Inputs of 80 to 320 pixels; outputs are raw boxes and scores, before non-maximum suppression.
"""

from __future__ import annotations

from dataset.builder import Builder, Dtype, Tensor
from dataset.draws import Draws
from dataset.spaces.blocks import Block, depthwise, pointwise
from dataset.spaces.classification import draw_stem, draw_weights, start
from dataset.spaces.space import Architecture, BuiltNetwork
from dataset.spaces.staged import backbone
from dataset.spaces.vision_blocks import VISION_BLOCKS

_FORMAT = 1
"""Part of every label: networks of a seed may only change together with this number."""
_BACKBONES: dict[str, tuple[str, ...]] = {
    "mobilenet": ("separable",),
    "inverted": ("inverted", "fused_inverted"),
    "resnet": ("residual", "bottleneck"),
    "mixed": (
        "separable",
        "inverted",
        "residual",
        "conv",
        "shuffle",
        "fire",
        "pad_conv",
        "gate",
        "inception",
    ),
}
_BACKBONE_WEIGHTS = (3, 5, 3, 5)
_SIDES = (80, 96, 128, 160, 192, 224, 256, 300, 320)
_SIDE_WEIGHTS = (8, 8, 6, 5, 3, 2, 1, 1, 1)
_TASKS = ("ssd", "pyramid", "segmentation", "keypoints")
_TASK_WEIGHTS = (8, 4, 4, 2)


class Detection:
    """The space `detection`."""

    name = "detection"

    def sample(self, seed: int) -> Architecture:
        """Return input, stem, blocks, the levels that heads look at, and the heads."""
        draws = Draws(f"detection {_FORMAT} {seed}")
        side = draws.choice(_SIDES, _SIDE_WEIGHTS)
        shape = (
            side,
            side if draws.chance(0.8) else draws.choice(_SIDES, _SIDE_WEIGHTS),
            draws.choice((1, 3), (1, 5)),
        )
        family = draws.choice(tuple(_BACKBONES), _BACKBONE_WEIGHTS)
        task = draws.choice(_TASKS, _TASK_WEIGHTS)
        architecture: Architecture = {"input": list(shape), "family": f"{task}_{family}", "task": task}
        architecture |= draw_weights(draws)
        architecture["stem"], size, width = draw_stem(draws, shape)
        stages = draws.between(2, 3) if task == "segmentation" else draws.between(3, 4)
        architecture["blocks"] = backbone(draws, _BACKBONES[family], size, width, stages)
        architecture["head"] = _head(draws)
        return architecture

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        architecture = self.sample(seed)
        b, x = start(self.name, architecture, seed, dtype)
        levels: dict[int, Tensor] = {}
        for block in architecture["blocks"]:
            x = VISION_BLOCKS[block["kind"]](b, x, block)
            levels[x.shape[1]] = x
        maps = [levels[rows] for rows in sorted(levels, reverse=True)]
        for tensor in _OUTPUTS[architecture["task"]](b, maps, architecture["head"]):
            b.output(tensor)
        return BuiltNetwork(b.finish(), architecture, architecture["family"])


def _head(draws: Draws) -> Block:
    return {
        "classes": draws.choice((2, 4, 11, 21, 91), (2, 2, 2, 4, 3)),
        "anchors": draws.choice((1, 2, 3, 6)),
        "levels": draws.between(1, 4),
        "extra": draws.between(0, 2),
        "width": draws.choice((16, 32, 48, 64, 96, 128)),
        "lite": draws.chance(0.7),
        "activation": draws.choice(("relu", "relu6", "hard_swish"), (2, 3, 1)),
        "rates": draws.choice(([6, 12, 18], [2, 4], [4, 8, 12], [1, 3])),
        "scores": draws.choice(("logistic", "softmax", "none")),
        "resize": draws.choice(("bilinear", "nearest")),
        "half_pixel": draws.chance(0.7),
    }


def _ssd(b: Builder, maps: list[Tensor], p: Block) -> list[Tensor]:
    """Boxes and scores from the smallest maps and from extra, still smaller ones."""
    chosen = maps[-p["levels"] :]
    for _ in range(p["extra"]):
        last = chosen[-1]
        if min(last.shape[1:3]) < 2:
            break
        y = pointwise(b, last, p["width"], p["activation"])
        chosen.append(b.conv(y, 2 * p["width"], kernel=3, stride=2, activation="relu6"))
    return _boxes_and_scores(b, chosen, p)


def _pyramid(b: Builder, maps: list[Tensor], p: Block) -> list[Tensor]:
    """Boxes and scores from maps to which coarser ones were added, top down."""
    chosen = maps[-max(2, p["levels"]) :]
    merged = [pointwise(b, chosen[-1], p["width"], "none")]
    for finer in reversed(chosen[:-1]):
        up = _resize(b, merged[-1], finer, p)
        merged.append(b.add(pointwise(b, finer, p["width"], "none"), up))
    return _boxes_and_scores(b, merged, p)


def _boxes_and_scores(b: Builder, maps: list[Tensor], p: Block) -> list[Tensor]:
    boxes = [_predict(b, x, p, p["anchors"], 4) for x in maps]
    scores = [_predict(b, x, p, p["anchors"], p["classes"]) for x in maps]
    score = b.concat(scores, axis=1) if len(scores) > 1 else scores[0]
    if p["scores"] != "none":
        score = b.logistic(score) if p["scores"] == "logistic" else b.softmax(score)
    return [b.concat(boxes, axis=1) if len(boxes) > 1 else boxes[0], score]


def _predict(b: Builder, x: Tensor, p: Block, anchors: int, values: int) -> Tensor:
    """Return [1, places * anchors, values] from one map."""
    if p["lite"]:
        y = pointwise(b, depthwise(b, x, {"activation": p["activation"]}), anchors * values, "none")
    else:
        y = b.conv(x, anchors * values, kernel=3)
    return b.reshape(y, (1, y.shape[1] * y.shape[2] * anchors, values))


def _segmentation(b: Builder, maps: list[Tensor], p: Block) -> list[Tensor]:
    """A class for each pixel: dilated convolutions side by side, resized, joined with a finer map."""
    coarse = VISION_BLOCKS["aspp"](b, maps[-1], {"filters": p["width"], "rates": p["rates"]})
    fine = maps[0]
    y = b.concat([_resize(b, coarse, fine, p), pointwise(b, fine, 16, "relu")])
    y = pointwise(b, y, p["classes"], "none")
    return [b.resize_bilinear(y, (2 * y.shape[1], 2 * y.shape[2]), half_pixel=p["half_pixel"])]


def _keypoints(b: Builder, maps: list[Tensor], p: Block) -> list[Tensor]:
    """Heat maps and offsets at a middle resolution."""
    finer = maps[max(0, len(maps) - 3)]
    y = b.add(
        _resize(b, pointwise(b, maps[-1], p["width"], "none"), finer, p),
        pointwise(b, finer, p["width"], "none"),
    )
    heat = pointwise(b, depthwise(b, y, {"activation": "relu6"}), p["classes"], "none")
    return [
        b.logistic(heat),
        pointwise(b, depthwise(b, y, {"activation": "relu6"}), 2 * p["classes"], "none"),
    ]


def _resize(b: Builder, x: Tensor, like: Tensor, p: Block) -> Tensor:
    if x.shape[1:3] == like.shape[1:3]:
        return x
    add = b.resize_bilinear if p["resize"] == "bilinear" else b.resize_nearest
    return add(x, (like.shape[1], like.shape[2]), half_pixel=p["half_pixel"])


_OUTPUTS = {"ssd": _ssd, "pyramid": _pyramid, "segmentation": _segmentation, "keypoints": _keypoints}

SPACE = Detection()
