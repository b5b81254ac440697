"""Recurrent layers as one operator."""

from __future__ import annotations

import numpy as np
import tflite

from dataset.builder.core import Core
from dataset.builder.serialize import Tensor
from perfsage.errors import InvalidInputError

_GATES = 4
_CELL_SCALE = 2.0**-11
"""int8 LSTM kernels keep the cell state as int16 with a power-of-two scale."""


class RecurrentMixin(Core):
    """Adds UNIDIRECTIONAL_SEQUENCE_LSTM to a builder."""

    def lstm(self, x: Tensor, units: int, *, time_major: bool = False) -> Tensor:
        """Add an LSTM over [batch, time, features], giving [batch, time, units]."""
        if len(x.shape) != 3:
            raise InvalidInputError(f"lstm needs a tensor of rank 3, not {x.shape}", where=x.name)
        batch = x.shape[1 if time_major else 0]
        out = self._fixed("lstm", (*x.shape[:2], units), 1 / 128, 0)
        hidden = self._fixed_variable("hidden_state", (batch, units), 1 / 128)
        cell = self._cell_state((batch, units))
        gates = [self._lstm_weights((units, x.shape[2])) for _ in range(_GATES)]
        recurrent = [self._lstm_weights((units, units)) for _ in range(_GATES)]
        biases = [self._lstm_bias(units, x, gate) for gate in gates]
        inputs = [x, *gates, *recurrent, None, None, None, *biases, None, None, hidden, cell]
        inputs += [None] * _GATES  # no layer normalization
        return self._record(
            "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, out, "UnidirectionalSequenceLSTMOptions",
            versions=(1, 1), intermediates=self._lstm_intermediates() if self.is_int8 else (),
            FusedActivationFunction=tflite.ActivationFunctionType.TANH, CellClip=10.0, ProjClip=0.0,
            TimeMajor=time_major, AsymmetricQuantizeInputs=False,
        )  # fmt: skip

    def _lstm_weights(self, shape: tuple[int, int]) -> Tensor:
        fan_in = shape[1]
        if not self.is_int8:
            return self._constant("weights", self._weights.float32(shape, fan_in, 0))
        scale = self._weights.int8_scales(1, fan_in)
        return self._constant("weights", self._weights.int8(shape, fan_in), scale)

    def _lstm_bias(self, units: int, x: Tensor, weights: Tensor) -> Tensor:
        bias = self._weights.bias(units)
        if not self.is_int8:
            return self._constant("bias", bias.astype(np.float32))
        scale = x.scale * weights.scale
        return self._constant("bias", np.rint(bias / scale).astype(np.int32), scale)

    def _fixed_variable(self, name: str, shape: tuple[int, ...], scale: float) -> Tensor:
        return self._tensor(name, shape, self._type, scale if self.is_int8 else 0.0, 0, variable=True)

    def _cell_state(self, shape: tuple[int, int]) -> Tensor:
        if not self.is_int8:
            return self._fixed_variable("cell_state", shape, 0.0)
        return self._tensor("cell_state", shape, tflite.TensorType.INT16, _CELL_SCALE, 0, variable=True)

    def _lstm_intermediates(self) -> list[Tensor]:
        """Calibration's scales: four gates (read only with layer normalization) and the hidden state.

        They hold no data: TFLM refuses intermediate tensors with elements.
        """
        gates = [self._scale_only("gate", tflite.TensorType.INT16, 2.0**-12) for _ in range(_GATES)]
        return [*gates, self._scale_only("hidden", tflite.TensorType.INT8, 1 / 128)]

    def _scale_only(self, name: str, kind: int, scale: float) -> Tensor:
        index = len(self._tensors)
        tensor = Tensor(index, f"{name}_{index}", (0,), kind, np.asarray([scale], np.float32))
        self._tensors.append(tensor)
        return tensor
