"""Write a plan as a .tflite file."""

from __future__ import annotations

import numpy as np
import tflite

from dataset.builder import Activation, Builder, Dtype, Padding, Tensor
from dataset.builder.serialize import serialize
from dataset.draws import Draws
from dataset.spaces.nasbench201_plan import Plan, Step

INPUT = (1, 32, 32, 3)
CLASSES = 10
_INT8_STEP = 1.5 / 127
"""Quantization step of the last BatchNorm's factors and offsets, which lie in [0.5, 1.5)."""


def write(plan: Plan | None, dtype: Dtype, seed: int, description: str) -> bytes:
    """Return the file of the network with that plan, or of a constant where there is none."""
    if plan is None:
        return _constant(dtype, description)
    b = Builder(dtype=dtype, seed=seed, description=description)
    tensors: dict[int, Tensor] = {0: b.input(INPUT)}
    fused = plan.fused()
    last_is_conv = plan.steps[plan.output - 1].kind == "conv"
    for number, step in enumerate(plan.steps, 1):
        if number in tensors:
            continue
        ends_in_relu = number in fused or (last_is_conv and number == plan.output)
        tensors[number] = _add(
            b, step, [tensors[o] for o in step.operands], "relu" if ends_in_relu else "none"
        )
        if number in fused:
            tensors[fused[number]] = tensors[number]
    x = tensors[plan.output]
    b.output(b.fully_connected(b.mean(x if last_is_conv else _batch_norm(b, x, seed)), CLASSES))
    return b.finish()


def _add(b: Builder, step: Step, inputs: list[Tensor], activation: Activation) -> Tensor:
    if step.kind == "conv":
        return b.conv(inputs[0], step.channels, kernel=step.kernel, stride=step.stride, activation=activation)
    if step.kind == "add":
        return b.add(inputs[0], inputs[1], activation=activation)
    if step.kind == "relu":
        return b.relu(inputs[0])
    padding: Padding = "same" if step.stride == 1 else "valid"
    return b.average_pool(
        inputs[0], kernel=step.kernel, stride=step.stride, padding=padding, activation=activation
    )


def _batch_norm(b: Builder, x: Tensor, seed: int) -> Tensor:
    """Add the network's last BatchNorm and ReLU after an operator that cannot absorb it: MUL and ADD."""
    draws = Draws(f"batch norm {seed}")
    factors, offsets = (_vector(b, draws, x.shape[-1]) for _ in range(2))
    return b.add(b.mul(x, factors), offsets, activation="relu")


def _vector(b: Builder, draws: Draws, channels: int) -> Tensor:
    values = np.array([draws.uniform(0.5, 1.5) for _ in range(channels)])
    if b.is_int8:
        return b.constant(np.rint(values / _INT8_STEP).astype(np.int8), scale=_INT8_STEP)
    return b.constant(values.astype(np.float32))


def _constant(dtype: Dtype, description: str) -> bytes:
    """Return what a converter leaves of a network whose output does not depend on its input."""
    is_int8 = dtype == "int8"
    kind = tflite.TensorType.INT8 if is_int8 else tflite.TensorType.FLOAT32
    scale = np.asarray([2 / 255] if is_int8 else [], np.float32)
    zeros = np.zeros((1, CLASSES), np.int8 if is_int8 else np.float32)
    tensors = (
        Tensor(0, "input", INPUT, kind, scale, -1 if is_int8 else 0),
        Tensor(1, "output", zeros.shape, kind, scale, buffer=1),
    )
    return serialize(tensors, (), (b"", zeros.tobytes()), (0,), (1,), description)
