"""A NAS-Bench-201 cell, and what is left of it when nothing dead and nothing twice is computed.

A cell has four nodes. Node 0 is its input; node i sums what its i incoming edges make of the nodes before
it. See "NAS-Bench-201: Extending the Scope of Reproducible NAS" (arXiv:2001.00326).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

from perfsage.errors import InvalidInputError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(node, source) of each edge in the order of the cell's text."""
CELLS: int = len(OPERATIONS) ** len(EDGES)
_EXAMPLE = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
_LONGEST_TEXT = 200

Operations = tuple[str, ...]
Instruction = tuple[str | int, ...]
"""(name, operands...): an operand is 0 for the cell's input, or 1 + the index of an instruction."""


@dataclass(frozen=True, slots=True)
class Program:
    """A cell without dead and repeated work: instructions in the order in which they run.

    `output` is an operand; None means that the cell's output is zero whatever its input, so that a converter
    folds the whole network into a constant. Cells have the same program exactly when they are isomorphic:
    when leaving out what is dead, renaming nodes and reordering sums turns one into the other.
    """

    instructions: tuple[Instruction, ...]
    output: int | None

    def __str__(self) -> str:
        lines = (" ".join(map(str, instruction)) for instruction in self.instructions)
        return "; ".join([*lines, f"out {'constant' if self.output is None else self.output}"])


@dataclass(frozen=True, slots=True)
class _Apply:
    """A pool, or the convolution of an edge: two convolutions of one tensor have weights of their own."""

    operation: str
    source: _Value
    edge: int | None


@dataclass(frozen=True, slots=True)
class _Sum:
    terms: tuple[_Value, ...]


@dataclass(frozen=True, slots=True)
class _Input:
    """The cell's input."""


_Value = _Input | _Apply | _Sum


def parse_cell(text: str) -> Operations:
    """Return the operations of the six edges; InvalidInputError names the edge that is wrong."""
    if len(text) > _LONGEST_TEXT:
        raise _wrong(text[:40] + "...", f"a text of {len(text)} characters is no cell")
    nodes = text.strip().split("+")
    if len(nodes) != 3:
        raise _wrong(text, f"a cell has 3 nodes joined by +, and this text has {len(nodes)}")
    operations: list[str] = []
    for number, node in enumerate(nodes, 1):
        edges = node.split("|")
        if len(edges) != number + 2 or edges[0] or edges[-1]:
            raise _wrong(text, f"node {number} is {node!r}, and needs {number} edges between bars")
        operations += (_parse_edge(text, number, source, edge) for source, edge in enumerate(edges[1:-1]))
    return tuple(operations)


def _parse_edge(text: str, node: int, source: int, edge: str) -> str:
    operation, _, origin = edge.partition("~")
    place = f"edge {source + 1} of node {node}"
    if operation not in OPERATIONS:
        raise _wrong(
            text, f"{place} has the unknown operation {operation!r} (known: {', '.join(OPERATIONS)})"
        )
    if origin != str(source):
        raise _wrong(text, f"{place} comes from {origin!r}, and must come from node {source}")
    return operation


def _wrong(text: str, what: str) -> InvalidInputError:
    return InvalidInputError(what, where=f"cell {text!r}", hint=f"A cell reads like {_EXAMPLE}")


def cell_text(operations: Operations) -> str:
    """Return the text of a cell, as `parse_cell` reads it."""
    nodes: list[str] = ["|", "|", "|"]
    for (node, source), operation in zip(EDGES, operations, strict=True):
        nodes[node - 1] += f"{operation}~{source}|"
    return "+".join(nodes)


def cell_program(operations: Operations) -> Program:
    """Return the cell's program: of all orders of its sums, the shortest, then the first.

    A sum within a sum is one sum of all terms, unless the partial sum saves work because it repeats.
    """
    value = _evaluate(operations)
    if value is None:
        return Program((), None)
    nested, flat = _best(value), _best(_flat(value))
    return nested if len(nested.instructions) < len(flat.instructions) else flat


def _best(value: _Value) -> Program:
    return min(_programs(value), key=lambda program: (len(program.instructions), str(program)))


def _evaluate(operations: Operations) -> _Value | None:
    """Return the output's value, None for zero."""
    values: list[_Value | None] = [_Input()]
    for node in (1, 2, 3):
        edges = [number for number, (target, _) in enumerate(EDGES) if target == node]
        values.append(_sum([_edge(operations[e], values[EDGES[e][1]], e) for e in edges]))
    return values[-1]


def _edge(operation: str, source: _Value | None, edge: int) -> _Value | None:
    """Return what an edge adds to its node; a convolution of zeros is zero, as before training."""
    if operation == "none" or source is None:
        return None
    if operation == "skip_connect":
        return source
    return _Apply(operation, source, edge if operation.startswith("nor_conv") else None)


def _sum(parts: list[_Value | None]) -> _Value | None:
    terms = tuple(part for part in parts if part is not None)
    if not terms:
        return None
    return terms[0] if len(terms) == 1 else _Sum(terms)


def _flat(value: _Value) -> _Value:
    """Return the value with sums within its last sum opened: only node 2 can be one, read by node 3 alone."""
    if not isinstance(value, _Sum):
        return value
    parts = (term.terms if isinstance(term, _Sum) else (term,) for term in value.terms)
    return _Sum(tuple(term for part in parts for term in part))


def _programs(value: _Value) -> Iterator[Program]:
    """Yield a program for every order of the terms of every sum: 24 at most."""
    sums = list(dict.fromkeys(_sums(value)))
    for orders in product(*(permutations(each.terms) for each in sums)):
        writer = _Writer(dict(zip(sums, orders, strict=True)))
        output = writer.operand(value)
        yield Program(tuple(writer.instructions), output)


def _sums(value: _Value) -> Iterator[_Sum]:
    if isinstance(value, _Apply):
        yield from _sums(value.source)
    elif isinstance(value, _Sum):
        yield value
        for term in value.terms:
            yield from _sums(term)


class _Writer:
    """Writes a value as instructions, each once."""

    def __init__(self, orders: dict[_Sum, tuple[_Value, ...]]) -> None:
        self.instructions: list[Instruction] = []
        self._orders = orders
        self._known: dict[_Value | Instruction, int] = {_Input(): 0}

    def operand(self, value: _Value) -> int:
        if value not in self._known:
            self._known[value] = self._write(value)
        return self._known[value]

    def _write(self, value: _Value) -> int:
        if isinstance(value, _Sum):
            return self._write_sum(value)
        assert isinstance(value, _Apply)
        source = self.operand(value.source)
        if value.edge is None:
            return self._once((value.operation, source))
        return self._append((value.operation, self._once(("relu", source))))

    def _write_sum(self, value: _Sum) -> int:
        first, *others = (self.operand(term) for term in self._orders[value])
        for other in others:
            first = self._once(("add", min(first, other), max(first, other)))
        return first

    def _once(self, instruction: Instruction) -> int:
        if instruction not in self._known:
            self._known[instruction] = self._append(instruction)
        return self._known[instruction]

    def _append(self, instruction: Instruction) -> int:
        self.instructions.append(instruction)
        return len(self.instructions)
