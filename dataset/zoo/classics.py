"""ResNet (arXiv 1512.03385), VGG (1409.1556), DenseNet (1608.06993), SqueezeNet (1602.07360), ShuffleNet V2.

ShuffleNet V2 is arXiv 1807.11164. ResNet-50 strides in the 3 x 3 convolution, as most published files do.
"""

from __future__ import annotations

from dataset.builder import Builder, Tensor
from dataset.zoo.parts import classes, constant


def resnet18(b: Builder, batch: int) -> None:
    """Add ResNet-18."""
    x = _stem(b, batch)
    for filters, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        x = _basic(b, _basic(b, x, filters, stride), filters, 1)
    classes(b, x)


def resnet50(b: Builder, batch: int) -> None:
    """Add ResNet-50."""
    x = _stem(b, batch)
    for inner, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for place in range(count):
            x = _bottleneck(b, x, inner, 1 if place else stride)
    classes(b, x)


def _stem(b: Builder, batch: int) -> Tensor:
    x = b.conv(b.input((batch, 224, 224, 3)), 64, kernel=7, stride=2, activation="relu")
    return b.max_pool(x, kernel=3, stride=2, padding="same")


def _basic(b: Builder, x: Tensor, filters: int, stride: int) -> Tensor:
    y = b.conv(b.conv(x, filters, stride=stride, activation="relu"), filters)
    return b.add(_shortcut(b, x, y, stride), y, activation="relu")


def _bottleneck(b: Builder, x: Tensor, inner: int, stride: int) -> Tensor:
    y = b.conv(x, inner, kernel=1, activation="relu")
    y = b.conv(b.conv(y, inner, stride=stride, activation="relu"), 4 * inner, kernel=1)
    return b.add(_shortcut(b, x, y, stride), y, activation="relu")


def _shortcut(b: Builder, x: Tensor, y: Tensor, stride: int) -> Tensor:
    return x if x.shape == y.shape else b.conv(x, y.shape[-1], kernel=1, stride=stride)


def vgg16(b: Builder, batch: int) -> None:
    """Add VGG-16; its 138 million weights make a file of 138 MB (int8) or 553 MB (float32)."""
    x = b.input((batch, 224, 224, 3))
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = b.conv(x, filters, activation="relu")
        x = b.max_pool(x)
    x = b.reshape(x, (batch, 7 * 7 * 512))
    x = b.fully_connected(b.fully_connected(x, 4096, activation="relu"), 4096, activation="relu")
    b.output(b.softmax(b.fully_connected(x, 1000)))


def densenet121(b: Builder, batch: int) -> None:
    """Add DenseNet-121; normalizations before a convolution cannot be folded: they stay as MUL and ADD."""
    x = _stem(b, batch)
    for number, layers in enumerate((6, 12, 24, 16)):
        for _ in range(layers):
            y = b.conv(_normalized(b, x), 128, kernel=1, activation="relu")
            x = b.concat([x, b.conv(y, 32)])
        if number < 3:
            x = b.average_pool(b.conv(_normalized(b, x), x.shape[-1] // 2, kernel=1))
    classes(b, _normalized(b, x))


def _normalized(b: Builder, x: Tensor) -> Tensor:
    shape = (x.shape[-1],)
    return b.add(b.mul(x, constant(b, shape, 1.0)), constant(b, shape, 0.1), activation="relu")


def squeezenet(b: Builder, batch: int) -> None:
    """Add SqueezeNet 1.1."""
    x = b.conv(b.input((batch, 224, 224, 3)), 64, stride=2, padding="valid", activation="relu")
    for squeezed, count in ((16, 2), (32, 2), (48, 2), (64, 2)):
        if squeezed != 64:
            x = b.max_pool(x, kernel=3)
        for _ in range(count):
            y = b.conv(x, squeezed, kernel=1, activation="relu")
            sides = [b.conv(y, 4 * squeezed, kernel=kernel, activation="relu") for kernel in (1, 3)]
            x = b.concat(sides)
    x = b.conv(x, 1000, kernel=1, activation="relu")
    b.output(b.softmax(b.mean(x)))


def shufflenet_v2(b: Builder, batch: int) -> None:
    """Add ShuffleNet V2 of width 1."""
    x = b.conv(b.input((batch, 224, 224, 3)), 24, stride=2, activation="relu")
    x = b.max_pool(x, kernel=3, stride=2, padding="same")
    for filters, count in ((116, 4), (232, 8), (464, 4)):
        x = _shuffle_down(b, x, filters // 2)
        for _ in range(count - 1):
            keep, work = b.split(x, 2)
            x = _shuffled(b, [keep, _shuffle_work(b, work, filters // 2, 1)])
    classes(b, b.conv(x, 1024, kernel=1, activation="relu"))


def _shuffle_down(b: Builder, x: Tensor, half: int) -> Tensor:
    short = b.conv(b.depthwise(x, stride=2), half, kernel=1, activation="relu")
    return _shuffled(b, [short, _shuffle_work(b, x, half, 2)])


def _shuffle_work(b: Builder, x: Tensor, half: int, stride: int) -> Tensor:
    y = b.depthwise(b.conv(x, half, kernel=1, activation="relu"), stride=stride)
    return b.conv(y, half, kernel=1, activation="relu")


def _shuffled(b: Builder, parts: list[Tensor]) -> Tensor:
    """Concatenate and interleave, as converters write it: reshape, transpose, reshape."""
    x = b.concat(parts)
    batch, height, width, channels = x.shape
    y = b.reshape(x, (batch, height * width, 2, channels // 2))
    return b.reshape(b.transpose(y, (0, 1, 3, 2)), x.shape)
