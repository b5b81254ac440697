"""What every operator of the builder stands on: tensors, constants, records, quantization choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import tflite
from numpy.typing import NDArray

from dataset.builder.serialize import OperatorRecord, Tensor, serialize
from dataset.builder.weights import Weights
from dataset.draws import Draws
from perfsage.errors import InvalidInputError

Dtype = Literal["int8", "float32"]
Activation = Literal["none", "relu", "relu6"]
Padding = Literal["same", "valid"]
Pair = int | tuple[int, int]

ACTIVATIONS = {
    "none": tflite.ActivationFunctionType.NONE,
    "relu": tflite.ActivationFunctionType.RELU,
    "relu6": tflite.ActivationFunctionType.RELU6,
}
PADDINGS = {"same": tflite.Padding.SAME, "valid": tflite.Padding.VALID}
_TYPES = {
    np.dtype(np.int8): tflite.TensorType.INT8,
    np.dtype(np.int16): tflite.TensorType.INT16,
    np.dtype(np.int32): tflite.TensorType.INT32,
    np.dtype(np.float32): tflite.TensorType.FLOAT32,
}
_NO_SCALE = np.zeros(0, np.float32)
_RELU6_SCALE = 6 / 255


class Core:
    """Collects tensors and operators of one network, and writes them as a .tflite file.

    `dtype` is that of activations and weights; `seed` decides the weights and the quantization;
    `sparsity` is the share of weights that are zero; `spread` scales the deviation of int8 weights.
    """

    def __init__(
        self,
        *,
        dtype: Dtype = "int8",
        seed: int = 0,
        sparsity: float = 0.0,
        spread: float = 1.0,
        description: str = "PerfSAGE",
    ) -> None:
        if dtype not in ("int8", "float32"):
            raise InvalidInputError(f"{dtype!r} is not a dtype of the builder", hint="Use int8 or float32.")
        self.dtype: Dtype = dtype
        self.is_int8 = dtype == "int8"
        self._type: int = tflite.TensorType.INT8 if self.is_int8 else tflite.TensorType.FLOAT32
        self._description = description
        self._draws = Draws(f"quantization {seed}")
        self._weights = Weights(Draws(f"weights {seed}"), sparsity, spread)
        self._tensors: list[Tensor] = []
        self._operators: list[OperatorRecord] = []
        self._buffers: list[bytes | memoryview] = [b""]
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._free: set[int] = set()
        self._shared: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}

    @property
    def operator_count(self) -> int:
        """How many operators there are so far."""
        return len(self._operators)

    def input(self, shape: Sequence[int], *, dtype: Dtype | None = None) -> Tensor:
        """Add an input; `dtype` is the network's own when left out."""
        kind = self._type if dtype is None else _TYPES[np.dtype(dtype)]
        quantized = kind == tflite.TensorType.INT8
        tensor = self._tensor("input", tuple(shape), kind, *((2 / 255, -1) if quantized else (0.0, 0)))
        self._inputs.append(tensor.index)
        return tensor

    def output(self, tensor: Tensor) -> Tensor:
        """Declare `tensor` an output of the network."""
        self._outputs.append(tensor.index)
        self._free.discard(tensor.index)
        return tensor

    def constant(self, values: NDArray[np.generic], *, scale: float = 0.0) -> Tensor:
        """Add constant data (int8, int16, int32 or float32), quantized when a scale is given."""
        return self._constant("constant", values, np.asarray([scale] if scale else [], np.float32))

    def finish(self) -> bytes:
        """Return the network as the bytes of a .tflite file."""
        if not (self._inputs and self._outputs and self._operators):
            raise InvalidInputError("a network needs an input, an operator and an output")
        return serialize(
            self._tensors, self._operators, self._buffers, self._inputs, self._outputs, self._description
        )

    def _tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        scale: float,
        zero_point: int,
        variable: bool = False,
    ) -> Tensor:
        if min(shape, default=1) < 1:
            raise InvalidInputError(f"an operator would give the empty shape {shape}", where=name)
        index = len(self._tensors)
        scales = np.asarray([scale], np.float32) if scale else _NO_SCALE
        tensor = Tensor(index, f"{name}_{index}", shape, kind, scales, zero_point, is_variable=variable)
        self._tensors.append(tensor)
        return tensor

    def _constant(
        self, name: str, values: NDArray[np.generic], scales: NDArray[np.float32] = _NO_SCALE, axis: int = 0
    ) -> Tensor:
        index = len(self._tensors)
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        self._buffers.append(little.reshape(-1).view(np.uint8).data)
        tensor = Tensor(
            index,
            f"{name}_{index}",
            values.shape,
            _TYPES[values.dtype],
            scales,
            0,
            axis,
            len(self._buffers) - 1,
        )
        self._tensors.append(tensor)
        return tensor

    def _vector(self, *values: int, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return a constant of int32 (a vector unless a shape is given), shared by all that need it."""
        key = ((len(values),) if shape is None else shape, values)
        if key not in self._shared:
            data = np.asarray(values, np.int32).reshape(key[0])
            self._shared[key] = self._constant("parameter", data)
        return self._shared[key]

    def _activation(
        self, name: str, shape: tuple[int, ...], activation: Activation = "none", *, positive: bool = False
    ) -> Tensor:
        """Add an operator's output, with a quantization as calibration would have found it."""
        if not self.is_int8:
            return self._tensor(name, shape, self._type, 0.0, 0)
        if activation == "relu6":
            return self._tensor(name, shape, self._type, _RELU6_SCALE, -128)
        scale = self._draws.uniform(0.015, 0.08)
        zero_point = -128 if activation == "relu" or positive else self._draws.between(-24, 24)
        tensor = self._tensor(name, shape, self._type, scale, zero_point)
        self._free.add(tensor.index)
        return tensor

    def _unify(self, tensor: Tensor, target: Tensor) -> Tensor:
        """Return `tensor` with the quantization of `target`, requantized if something read it already."""
        same = tensor.zero_point == target.zero_point and np.array_equal(tensor.scale, target.scale)
        if same:
            return tensor
        if tensor.index in self._free:
            tensor.scale, tensor.zero_point = target.scale, target.zero_point
            return tensor
        out = self._like("requantize", target, tensor.shape)
        return self._record("QUANTIZE", (tensor,), out, "QuantizeOptions", versions=(2, 1))

    def _fixed(self, name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
        """Add an output whose quantization the kernels prescribe."""
        if self.is_int8:
            return self._tensor(name, shape, self._type, scale, zero_point)
        return self._tensor(name, shape, self._type, 0.0, 0)

    def _like(self, name: str, source: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Add an output of the same type and quantization as `source`."""
        scale = float(source.scale[0]) if len(source.scale) else 0.0
        return self._tensor(name, shape, source.type, scale, source.zero_point)

    def _record(
        self,
        operator: str,
        inputs: Sequence[Tensor | None],
        output: Tensor,
        options_table: str = "",
        *,
        versions: tuple[int, int] = (1, 1),
        more_outputs: Sequence[Tensor] = (),
        intermediates: Sequence[Tensor] = (),
        **options: int | float | bool,
    ) -> Tensor:
        """Append an operator; `versions` are those of its int8 and of its float32 kernel."""
        code: int = getattr(tflite.BuiltinOperator, operator)
        self._free.difference_update(tensor.index for tensor in inputs if tensor is not None)
        version = versions[0] if self.is_int8 else versions[1]
        self._operators.append(
            OperatorRecord(
                code,
                version,
                tuple(-1 if tensor is None else tensor.index for tensor in inputs),
                (output.index, *(tensor.index for tensor in more_outputs)),
                options_table,
                tuple(options.items()),
                tuple(tensor.index for tensor in intermediates),
            )
        )
        return output


def pair(value: Pair) -> tuple[int, int]:
    """Return (height, width) for a number that stands for both, or for a pair."""
    return (value, value) if isinstance(value, int) else value


def window(length: int, kernel: int, stride: int, dilation: int, padding: Padding) -> int:
    """Return the output length of a sliding window along one axis."""
    if padding == "same":
        return -(-length // stride)
    return (length - (kernel - 1) * dilation - 1) // stride + 1


def image(tensor: Tensor, operator: str) -> tuple[int, int, int, int]:
    """Return the shape of a batch of images; InvalidInputError where it is of another rank."""
    if len(tensor.shape) != 4:
        raise InvalidInputError(f"{operator} needs a tensor of rank 4, not {tensor.shape}", where=tensor.name)
    batch, height, width, channels = tensor.shape
    return batch, height, width, channels
