"""The operators of a network before they are written: each once, with who reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataset.spaces.nasbench201_cell import Program

_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: conv, relu, average_pool or add. An operand is 0 for the input, or 1 + a step's index."""

    kind: str
    operands: tuple[int, ...]
    channels: int = 0
    kernel: int = 0
    stride: int = 1


class Plan:
    """Collects steps; every step but a convolution, which has its own weights, is there only once."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.output = 0
        self._known: dict[Step, int] = {}

    def conv(self, x: int, channels: int, *, kernel: int, stride: int = 1) -> int:
        """Add a convolution with its folded BatchNorm."""
        return self._append(Step("conv", (x,), channels, kernel, stride))

    def relu(self, x: int) -> int:
        """Add a ReLU."""
        return self._once(Step("relu", (x,)))

    def average_pool(self, x: int, *, kernel: int, stride: int = 1) -> int:
        """Add an average pool."""
        return self._once(Step("average_pool", (x,), kernel=kernel, stride=stride))

    def add(self, a: int, b: int) -> int:
        """Add a sum."""
        return self._once(Step("add", (a, b)))

    def run(self, program: Program, x: int, channels: int) -> int:
        """Add a cell that reads `x`, and return its output."""
        assert program.output is not None
        operands = [x]
        for name, *numbers in program.instructions:
            inputs = [operands[int(number)] for number in numbers]
            if name in _KERNELS:
                operands.append(self.conv(inputs[0], channels, kernel=_KERNELS[str(name)]))
            elif name == "avg_pool_3x3":
                operands.append(self.average_pool(inputs[0], kernel=3))
            else:
                operands.append(self.relu(inputs[0]) if name == "relu" else self.add(*inputs))
        return operands[program.output]

    def fused(self) -> Mapping[int, int]:
        """Return the ReLU that can become a part of each operand's own operator: its only reader."""
        readers: dict[int, list[int]] = {self.output: [0]}
        for number, step in enumerate(self.steps, 1):
            for operand in set(step.operands):
                readers.setdefault(operand, []).append(number)
        return {
            operand: who[0]
            for operand, who in readers.items()
            if operand and len(who) == 1 and who[0] and self.steps[who[0] - 1].kind == "relu"
        }

    def _once(self, step: Step) -> int:
        if step not in self._known:
            self._known[step] = self._append(step)
        return self._known[step]

    def _append(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps)
