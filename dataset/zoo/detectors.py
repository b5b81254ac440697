"""SSD over MobileNet V1 (arXiv 1704.04861, 1512.02325) and SSDLite over MobileNet V2 (1801.04381).

They end in raw boxes and scores: the post-processing of TensorFlow's files is a custom operator that many
runtimes do not have.
"""

from __future__ import annotations

from dataset.builder import Builder, Tensor
from dataset.zoo.mobilenet import V1_BLOCKS, V2_STAGES
from dataset.zoo.parts import inverted, separable

_CLASSES = 91
_EXTRA = (512, 256, 256, 128)


def ssd_mobilenet_v1(b: Builder, batch: int) -> None:
    """Add SSD over MobileNetV1 and 300 x 300 pixels: 1,917 boxes of 91 classes."""
    x = b.conv(b.input((batch, 300, 300, 3)), 32, stride=2, activation="relu6")
    maps = []
    for number, (filters, stride) in enumerate(V1_BLOCKS):
        x = separable(b, x, filters, stride=stride)
        if number in (10, 12):
            maps.append(x)
    for filters in _EXTRA:
        y = b.conv(x, filters // 2, kernel=1, activation="relu6")
        x = b.conv(y, filters, stride=2, activation="relu6")
        maps.append(x)
    _predict(b, maps, lite=False)


def ssdlite_mobilenet_v2(b: Builder, batch: int) -> None:
    """Add SSDLite over MobileNetV2 and 320 x 320 pixels: 2,034 boxes of 91 classes."""
    x = b.conv(b.input((batch, 320, 320, 3)), 32, stride=2, activation="relu6")
    maps = []
    for expansion, filters, count, stride in V2_STAGES:
        for place in range(count):
            if filters == 160 and not place:
                # The map of a sixteenth is what the block expands to before it strides.
                wide = b.conv(x, x.shape[-1] * expansion, kernel=1, activation="relu6")
                maps.append(wide)
                x = b.conv(b.depthwise(wide, stride=stride, activation="relu6"), filters, kernel=1)
            else:
                x = inverted(b, x, filters, expansion=expansion, stride=1 if place else stride)
    x = b.conv(x, 1280, kernel=1, activation="relu6")
    maps.append(x)
    for filters in _EXTRA:
        x = separable(b, b.conv(x, filters // 2, kernel=1, activation="relu6"), filters, stride=2)
        maps.append(x)
    _predict(b, maps, lite=True)


def _predict(b: Builder, maps: list[Tensor], *, lite: bool) -> None:
    boxes, scores = [], []
    for number, x in enumerate(maps):
        anchors = 3 if number == 0 else 6
        boxes.append(_predictor(b, x, anchors, 4, lite=lite))
        scores.append(_predictor(b, x, anchors, _CLASSES, lite=lite))
    b.output(b.concat(boxes, axis=1))
    b.output(b.logistic(b.concat(scores, axis=1)))


def _predictor(b: Builder, x: Tensor, anchors: int, values: int, *, lite: bool) -> Tensor:
    y = b.depthwise(x, activation="relu6") if lite else x
    y = b.conv(y, anchors * values, kernel=1)
    batch, height, width, _ = y.shape
    return b.reshape(y, (batch, height * width * anchors, values))
