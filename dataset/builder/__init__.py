"""Build networks and write them as .tflite files, int8 (weights per channel) or float32.

b = Builder(dtype="int8", seed=7)
x = b.input((1, 49, 10, 1))
x = b.conv(x, 64, kernel=(10, 4), stride=2, activation="relu6")
x = b.fully_connected(b.mean(x), 12)
b.output(b.softmax(x))
data = b.finish()
"""

from __future__ import annotations

from dataset.builder.convolution import ConvolutionMixin
from dataset.builder.core import Activation, Dtype, Padding
from dataset.builder.elementwise import ElementwiseMixin
from dataset.builder.recurrent import RecurrentMixin
from dataset.builder.reducing import ReducingMixin
from dataset.builder.serialize import Tensor
from dataset.builder.shaping import ShapingMixin

__all__ = ["Activation", "Builder", "Dtype", "Padding", "Tensor"]


class Builder(ConvolutionMixin, ElementwiseMixin, ShapingMixin, ReducingMixin, RecurrentMixin):
    """Builds one network, operator by operator, from its inputs to its outputs.

    Every method that adds an operator takes the tensors that it reads and returns the one that it writes.
    Quantization parameters are chosen as calibration would, and obey what LiteRT, TFLM and Vela demand of
    each operator. Shapes that do not fit raise InvalidInputError.
    """
