"""Operators without weights that work element by element, and activations."""

from __future__ import annotations

import numpy as np
import tflite

from dataset.builder.core import ACTIVATIONS, Activation, Core
from dataset.builder.serialize import Tensor
from perfsage.errors import InvalidInputError


class ElementwiseMixin(Core):
    """Adds arithmetic, activations and conversions to a builder."""

    def add(self, a: Tensor, b: Tensor, *, activation: Activation = "none", positive: bool = False) -> Tensor:
        """Add ADD with broadcasting; `positive` says that the sum is never negative."""
        out = self._activation("add", _broadcast(a, b), activation, positive=positive)
        options = {"FusedActivationFunction": ACTIVATIONS[activation]}
        return self._record("ADD", (a, b), out, "AddOptions", versions=(2, 1), **options)

    def sub(self, a: Tensor, b: Tensor, *, activation: Activation = "none") -> Tensor:
        """Add SUB with broadcasting."""
        out = self._activation("sub", _broadcast(a, b), activation)
        options = {"FusedActivationFunction": ACTIVATIONS[activation]}
        return self._record("SUB", (a, b), out, "SubOptions", versions=(2, 1), **options)

    def mul(self, a: Tensor, b: Tensor, *, activation: Activation = "none") -> Tensor:
        """Add MUL with broadcasting."""
        out = self._activation("mul", _broadcast(a, b), activation)
        options = {"FusedActivationFunction": ACTIVATIONS[activation]}
        return self._record("MUL", (a, b), out, "MulOptions", versions=(2, 1), **options)

    def squared_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """Add SQUARED_DIFFERENCE with broadcasting."""
        out = self._activation("squared_difference", _broadcast(a, b), positive=True)
        return self._record("SQUARED_DIFFERENCE", (a, b), out, "SquaredDifferenceOptions", versions=(2, 1))

    def rsqrt(self, x: Tensor) -> Tensor:
        """Add RSQRT; int8 kernels refuse negative values, so that the zero point of `x` must be -128."""
        if self.is_int8 and x.zero_point != -128:
            raise InvalidInputError("rsqrt needs an input that is never negative", where=x.name)
        return self._record("RSQRT", (x,), self._activation("rsqrt", x.shape, positive=True), versions=(2, 1))

    def relu(self, x: Tensor) -> Tensor:
        """Add RELU as an operator of its own."""
        return self._record("RELU", (x,), self._activation("relu", x.shape, "relu"), versions=(2, 1))

    def relu6(self, x: Tensor) -> Tensor:
        """Add RELU6 as an operator of its own."""
        return self._record("RELU6", (x,), self._activation("relu6", x.shape, "relu6"), versions=(2, 1))

    def leaky_relu(self, x: Tensor, *, alpha: float = 0.1) -> Tensor:
        """Add LEAKY_RELU."""
        out = self._activation("leaky_relu", x.shape)
        return self._record("LEAKY_RELU", (x,), out, "LeakyReluOptions", versions=(2, 1), Alpha=alpha)

    def hard_swish(self, x: Tensor) -> Tensor:
        """Add HARD_SWISH."""
        out = self._activation("hard_swish", x.shape)
        return self._record("HARD_SWISH", (x,), out, "HardSwishOptions")

    def gelu(self, x: Tensor, *, approximate: bool = True) -> Tensor:
        """Add GELU."""
        out = self._activation("gelu", x.shape)
        return self._record("GELU", (x,), out, "GeluOptions", versions=(2, 1), Approximate=approximate)

    def logistic(self, x: Tensor) -> Tensor:
        """Add LOGISTIC (sigmoid)."""
        return self._record(
            "LOGISTIC", (x,), self._fixed("logistic", x.shape, 1 / 256, -128), versions=(2, 1)
        )

    def tanh(self, x: Tensor) -> Tensor:
        """Add TANH."""
        return self._record("TANH", (x,), self._fixed("tanh", x.shape, 1 / 128, 0), versions=(2, 1))

    def softmax(self, x: Tensor) -> Tensor:
        """Add SOFTMAX over the last axis."""
        out = self._fixed("softmax", x.shape, 1 / 256, -128)
        return self._record("SOFTMAX", (x,), out, "SoftmaxOptions", versions=(2, 1), Beta=1.0)

    def quantize(self, x: Tensor) -> Tensor:
        """Add QUANTIZE from float32 to int8."""
        out = self._tensor("quantize", x.shape, tflite.TensorType.INT8, 2 / 255, -1)
        return self._record("QUANTIZE", (x,), out, "QuantizeOptions")

    def dequantize(self, x: Tensor) -> Tensor:
        """Add DEQUANTIZE from int8 to float32."""
        out = self._tensor("dequantize", x.shape, tflite.TensorType.FLOAT32, 0.0, 0)
        return self._record("DEQUANTIZE", (x,), out, "DequantizeOptions", versions=(2, 2))


def _broadcast(a: Tensor, b: Tensor) -> tuple[int, ...]:
    if a.shape == b.shape:
        return a.shape
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise InvalidInputError(f"the shapes {a.shape} and {b.shape} do not fit together") from None
