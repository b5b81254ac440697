"""The four reference networks of MLPerf Tiny (github.com/mlcommons/tiny), operator for operator."""

from __future__ import annotations

from dataset.builder import Builder, Tensor


def keyword_spotting(b: Builder, batch: int = 1) -> None:
    """Add DS-CNN over 49 x 10 coefficients: 12 words."""
    x = b.conv(b.input((batch, 49, 10, 1)), 64, kernel=(10, 4), stride=2, activation="relu")
    for _ in range(4):
        x = b.conv(b.depthwise(x, activation="relu"), 64, kernel=1, activation="relu")
    x = b.average_pool(x, kernel=(25, 5), stride=(25, 5))
    b.output(b.softmax(b.fully_connected(b.reshape(x, (batch, 64)), 12)))


def visual_wake_words(b: Builder, batch: int = 1) -> None:
    """Add MobileNetV1 of a quarter width over 96 x 96 pixels: person or not."""
    x = b.conv(b.input((batch, 96, 96, 3)), 8, stride=2, activation="relu")
    filters = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    for width, stride in zip(filters, strides, strict=True):
        x = b.conv(b.depthwise(x, stride=stride, activation="relu"), width, kernel=1, activation="relu")
    x = b.average_pool(x, kernel=3, stride=3)
    b.output(b.softmax(b.fully_connected(b.reshape(x, (batch, 256)), 2)))


def image_classification(b: Builder, batch: int = 1) -> None:
    """Add ResNet-8 over 32 x 32 pixels: the ten classes of CIFAR-10."""
    x = b.conv(b.input((batch, 32, 32, 3)), 16, activation="relu")
    x = _residual(b, x, 16, 1)
    x = _residual(b, x, 32, 2)
    x = _residual(b, x, 64, 2)
    x = b.average_pool(x, kernel=8, stride=8)
    b.output(b.softmax(b.fully_connected(b.reshape(x, (batch, 64)), 10)))


def _residual(b: Builder, x: Tensor, width: int, stride: int) -> Tensor:
    y = b.conv(b.conv(x, width, stride=stride, activation="relu"), width)
    shortcut = x if stride == 1 else b.conv(x, width, kernel=1, stride=stride)
    return b.add(shortcut, y, activation="relu")


def anomaly_detection(b: Builder, batch: int = 1) -> None:
    """Add a fully connected autoencoder over 640 features."""
    x = b.input((batch, 640))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = b.fully_connected(x, units, activation="relu")
    b.output(b.fully_connected(x, 640))
