"""Operators with weights: convolutions and fully connected layers."""

from __future__ import annotations

import math

import numpy as np

from dataset.builder.core import ACTIVATIONS, PADDINGS, Activation, Core, Padding, Pair, image, pair, window
from dataset.builder.serialize import Tensor
from perfsage.errors import InvalidInputError


class ConvolutionMixin(Core):
    """Adds convolutions and fully connected layers to a builder."""

    def conv(
        self,
        x: Tensor,
        filters: int,
        *,
        kernel: Pair = 3,
        stride: Pair = 1,
        dilation: Pair = 1,
        padding: Padding = "same",
        activation: Activation = "none",
        groups: int = 1,
    ) -> Tensor:
        """Add CONV_2D on [batch, height, width, channels]; `groups` must divide both channel counts."""
        batch, height, width, channels = image(x, "conv")
        if channels % groups or filters % groups:
            raise InvalidInputError(f"{groups} groups do not divide {channels} and {filters} channels")
        (kh, kw), (sh, sw), (dh, dw) = pair(kernel), pair(stride), pair(dilation)
        shape = (filters, kh, kw, channels // groups)
        weights, bias = self._parameters(x, shape, filters, 0)
        size = (window(height, kh, sh, dh, padding), window(width, kw, sw, dw, padding))
        out = self._activation("conv", (batch, *size, filters), activation)
        versions = (6, 6) if groups > 1 else (3, 1)
        return self._record(
            "CONV_2D", (x, weights, bias), out, "Conv2DOptions", versions=versions, Padding=PADDINGS[padding],
            StrideW=sw, StrideH=sh, FusedActivationFunction=ACTIVATIONS[activation],
            DilationWFactor=dw, DilationHFactor=dh,
        )  # fmt: skip

    def depthwise(
        self,
        x: Tensor,
        *,
        kernel: Pair = 3,
        stride: Pair = 1,
        dilation: Pair = 1,
        multiplier: int = 1,
        padding: Padding = "same",
        activation: Activation = "none",
    ) -> Tensor:
        """Add DEPTHWISE_CONV_2D, giving channels * multiplier channels."""
        batch, height, width, channels = image(x, "depthwise")
        (kh, kw), (sh, sw), (dh, dw) = pair(kernel), pair(stride), pair(dilation)
        filters = channels * multiplier
        weights, bias = self._parameters(x, (1, kh, kw, filters), filters, 3)
        size = (window(height, kh, sh, dh, padding), window(width, kw, sw, dw, padding))
        out = self._activation("depthwise", (batch, *size, filters), activation)
        versions = (3, 2 if dh > 1 or dw > 1 else 1)
        return self._record(
            "DEPTHWISE_CONV_2D", (x, weights, bias), out, "DepthwiseConv2DOptions", versions=versions,
            Padding=PADDINGS[padding], StrideW=sw, StrideH=sh, DepthMultiplier=multiplier,
            FusedActivationFunction=ACTIVATIONS[activation], DilationWFactor=dw, DilationHFactor=dh,
        )  # fmt: skip

    def transpose_conv(
        self, x: Tensor, filters: int, *, kernel: Pair = 3, stride: Pair = 2, padding: Padding = "same"
    ) -> Tensor:
        """Add TRANSPOSE_CONV, which multiplies height and width by `stride` under "same" padding."""
        batch, height, width, channels = image(x, "transpose_conv")
        (kh, kw), (sh, sw) = pair(kernel), pair(stride)
        size = (height * sh, width * sw)
        if padding == "valid":
            size = ((height - 1) * sh + kh, (width - 1) * sw + kw)
        weights, bias = self._parameters(x, (filters, kh, kw, channels), filters, 0)
        out = self._activation("transpose_conv", (batch, *size, filters))
        return self._record(
            "TRANSPOSE_CONV", (self._vector(batch, *size, filters), weights, x, bias), out,
            "TransposeConvOptions", versions=(3, 3), Padding=PADDINGS[padding], StrideW=sw, StrideH=sh,
        )  # fmt: skip

    def fully_connected(
        self, x: Tensor, units: int, *, activation: Activation = "none", flatten: bool = False
    ) -> Tensor:
        """Add FULLY_CONNECTED over the last axis; weights are quantized per tensor, as converters do.

        With `flatten` it takes each image as one row, without a RESHAPE before it.
        """
        shape = (x.shape[0], math.prod(x.shape[1:])) if flatten else x.shape
        depth = shape[-1]
        weights, bias = self._parameters(x, (units, depth), units, 0, per_channel=False)
        keep = len(shape) > 2
        out = self._activation("dense", (*shape[:-1], units), activation)
        return self._record(
            "FULLY_CONNECTED", (x, weights, bias), out, "FullyConnectedOptions",
            versions=(5, 5) if keep else (4, 1), KeepNumDims=keep,
            FusedActivationFunction=ACTIVATIONS[activation],
        )  # fmt: skip

    def _parameters(
        self, x: Tensor, shape: tuple[int, ...], channels: int, axis: int, *, per_channel: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return weights and bias; int8 weights have one scale a channel, int32 biases the product scale."""
        fan_in = math.prod(shape) // channels
        bias = self._weights.bias(channels)
        if not self.is_int8:
            kernel = self._constant("weights", self._weights.float32(shape, fan_in, axis))
            return kernel, self._constant("bias", bias.astype(np.float32))
        scales = self._weights.int8_scales(channels if per_channel else 1, fan_in)
        kernel = self._constant("weights", self._weights.int8(shape, fan_in), scales, axis)
        bias_scales = scales * x.scale
        steps = np.rint(bias / bias_scales).astype(np.int32)
        return kernel, self._constant("bias", steps, bias_scales)
