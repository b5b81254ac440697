"""NAS-Bench-201 for CIFAR-10, operator for operator as TensorFlow's converter writes it.

Input 32x32x3, a stem of 16 channels, three stages of five equal cells with 16, 32 and 64 channels, residual
blocks of stride 2 between them, ten classes ("NAS-Bench-201", arXiv:2001.00326). Convolutions are
ReLU-Conv-BatchNorm; BatchNorm is folded into them, and a ReLU into the operator before it where nothing
else reads that one. tests/dataset/test_nasbench201_converter.py compares with the converter.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataset.builder import Dtype
from dataset.spaces.known import Named
from dataset.spaces.nasbench201_cell import (
    CELLS,
    EDGES,
    OPERATIONS,
    Operations,
    cell_program,
    cell_text,
    parse_cell,
)
from dataset.spaces.nasbench201_plan import Plan
from dataset.spaces.nasbench201_write import write
from dataset.spaces.space import Architecture, BuiltNetwork
from perfsage.errors import InvalidInputError

STAGES = (16, 32, 64)
CELLS_A_STAGE = 5
_STRIDE = 6007
"""Prime to the number of cells, so that consecutive seeds give cells that differ in most edges."""
_INVERSE: int = pow(_STRIDE, -1, CELLS)


def canonical(cell: str) -> str:
    """Return a text that isomorphic cells share, and no others: what the cell computes, step by step.

    Isomorphic cells become networks of the same graph id.
    """
    return str(cell_program(parse_cell(cell)))


@dataclass(frozen=True, slots=True)
class CellNetwork(Named):
    """The network of one cell."""

    operations: Operations

    def build(self, dtype: Dtype) -> BuiltNetwork:
        """Return the network; of a cell whose output is zero nothing is left but a constant."""
        data = write(plan(self.operations), dtype, self.weights_seed, self.text)
        return BuiltNetwork(data, self.architecture, self.space)


def plan(operations: Operations) -> Plan | None:
    """Return the operators of the network, None where the cell's output is zero."""
    program = cell_program(operations)
    if program.output is None:
        return None
    steps = Plan()
    x = steps.conv(0, 16, kernel=3)
    for channels in STAGES:
        if channels != STAGES[0]:
            x = _reduction(steps, x, channels)
        for _ in range(CELLS_A_STAGE):
            x = steps.run(program, x, channels)
    steps.output = x
    return steps


def _reduction(steps: Plan, x: int, channels: int) -> int:
    y = steps.conv(steps.relu(x), channels, kernel=3, stride=2)
    y = steps.conv(steps.relu(y), channels, kernel=3)
    shortcut = steps.conv(steps.average_pool(x, kernel=2, stride=2), channels, kernel=1)
    return steps.add(shortcut, y)


class NasBench201:
    """The space `nasbench201`: 15,625 cells, numbered by seed."""

    name = "nasbench201"

    def parse(self, text: str) -> CellNetwork:
        """Return the network of a cell's text; InvalidInputError names the edge that is wrong."""
        operations = parse_cell(text)
        return CellNetwork(self.name, cell_text(operations), operations)

    def sample(self, seed: int) -> Architecture:
        """Return the cell of that number; InvalidInputError beyond the last."""
        return self._numbered(seed).architecture

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        return self._numbered(seed).build(dtype)

    def seed_of(self, text: str) -> int:
        """Return the number of a cell."""
        index = 0
        for operation in parse_cell(text):
            index = index * len(OPERATIONS) + OPERATIONS.index(operation)
        return index * _INVERSE % CELLS

    def _numbered(self, seed: int) -> CellNetwork:
        if not 0 <= seed < CELLS:
            raise InvalidInputError(
                f"there is no cell {seed}", where=self.name, hint=f"Seeds go from 0 to {CELLS - 1}."
            )
        index = seed * _STRIDE % CELLS
        digits = [index // len(OPERATIONS) ** place % len(OPERATIONS) for place in range(len(EDGES))]
        operations = tuple(OPERATIONS[digit] for digit in reversed(digits))
        return CellNetwork(self.name, cell_text(operations), operations)


SPACE = NasBench201()
