"""Subgraphs laid end to end as one, so that costs and features of many graphs take one run of each formula.

Most graphs have some dozens of operators. Numpy then spends its time on calls and not on numbers: features of
twenty graphs at once take little longer than those of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from perfsage.graph.columns import Columns
from perfsage.graph.flatbuffer import Array, FlatBuffer
from perfsage.graph.graph import Subgraph
from perfsage.graph.options import OptionTables
from perfsage.graph.ragged import Ragged
from perfsage.graph.statistics import ColumnStatistics, statistics_of

_NO_FILE = FlatBuffer(memoryview(b""))
_NOWHERE = np.empty(0, np.int64)
_LEFT_OUT = -1
_WIRES = ("operator_inputs", "operator_outputs", "operator_intermediates")
_ARRAYS = (
    *("operator_type", "operator_version", "tensor_type", "tensor_buffer", "tensor_elements", "tensor_bytes"),
    *("tensor_is_constant", "tensor_is_variable", "tensor_constant_bytes"),
)
_IN_FILE = ("operator_position", "operator_fields", "tensor_position", "tensor_fields")


class JoinedOptions(OptionTables):
    """The scalar options of the operators of several subgraphs; tables and texts are found in the parts."""

    def __init__(self, parts: Sequence[OptionTables]) -> None:
        super().__init__(_NO_FILE, _NOWHERE, _NOWHERE)
        self._parts = parts

    @cached_property
    def keys(self) -> Array:
        """Union key per operator, as `OptionTables.keys`."""
        return np.concatenate([part.keys for part in self._parts])

    @cached_property
    def present(self) -> Array:
        """Whether each operator has an options table."""
        return np.concatenate([part.present for part in self._parts])

    @cached_property
    def values(self) -> Array:
        """Scalar options [operators, slots], as `OptionTables.values`."""
        starts = starts_of([len(part.values) for part in self._parts]).tolist()
        made = np.zeros((starts[-1], max(part.values.shape[1] for part in self._parts)), np.int64)
        for part, start in zip(self._parts, starts[:-1], strict=True):
            made[start : start + len(part.values), : part.values.shape[1]] = part.values
        return made


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedColumns(Columns):
    """Columns of several subgraphs one behind the other: rows and tensor indices go on counting.

    What only the file knows (constants, tables, names) is found in `parts`.
    """

    parts: tuple[Columns, ...]

    @cached_property
    def options(self) -> OptionTables:
        """The scalar options of all operators."""
        return JoinedOptions([part.options for part in self.parts])

    @cached_property
    def tensor_signature(self) -> Ragged:
        """The shape signatures of all tensors."""
        return _rows([part.tensor_signature for part in self.parts])

    @cached_property
    def tensor_is_quantized(self) -> Array:
        """Whether each tensor has both a scale and a zero point."""
        return np.concatenate([part.tensor_is_quantized for part in self.parts])

    @property
    def pieces(self) -> tuple[Columns, ...]:
        """The columns of each subgraph."""
        return self.parts

    @cached_property
    def tensor_statistics(self) -> ColumnStatistics:
        """Statistics of all constants, each sampled as densely as in its own subgraph."""
        unread = [part for part in self.parts if not part.has_statistics]
        for part, statistics in zip(unread, statistics_of(unread), strict=True):
            part.keep_statistics(statistics)
        found = [part.tensor_statistics for part in self.parts]
        return ColumnStatistics(*(np.concatenate(column) for column in zip(*found, strict=True)))


class JoinedSubgraph(Subgraph):
    """Several subgraphs as one; inputs and outputs are those of all of them."""

    def __init__(self, parts: Sequence[Subgraph]) -> None:
        columns = join_columns([part.columns for part in parts])
        self.parts = tuple(parts)
        self._operators = starts_of([len(part.columns.operator_type) for part in parts])
        tensors = starts_of([len(part.columns.tensor_type) for part in parts])
        self._tensors = np.diff(tensors)
        starts = tensors[:-1].tolist()
        inputs = _shifted([part.inputs for part in parts], starts)
        outputs = _shifted([part.outputs for part in parts], starts)
        super().__init__(parts[0].index, parts[0].table, inputs, outputs, columns)

    @property
    def operator_starts(self) -> Array:
        """Where the operators of each part begin, and where the last ones end."""
        return self._operators

    @property
    def spans(self) -> tuple[Array, Array]:
        """The rows between which the operators of each tensor's own subgraph lie."""
        starts = self.operator_starts
        return np.repeat(starts[:-1], self._tensors), np.repeat(starts[1:], self._tensors)

    def part(self, row: int) -> tuple[Subgraph, int]:
        """Return the subgraph that operator `row` comes from, and its row there."""
        place = int(np.searchsorted(self.operator_starts, row, "right")) - 1
        return self.parts[place], row - int(self.operator_starts[place])


def join(subgraphs: Sequence[Subgraph]) -> Subgraph:
    """Return one subgraph with the operators of all, which have to be one at least."""
    return subgraphs[0] if len(subgraphs) == 1 else JoinedSubgraph(subgraphs)


def join_columns(parts: Sequence[Columns]) -> JoinedColumns:
    """Return the columns of all `parts`."""
    tensors = starts_of([len(part.tensor_type) for part in parts])
    codes = starts_of([len(part.operator_custom_code) for part in parts])[:-1]
    opcodes = [part.operator_opcode for part in parts]
    joined: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _ARRAYS}
    joined |= dict.fromkeys(_IN_FILE, _NOWHERE)
    joined |= {name: _wires([getattr(part, name) for part in parts], tensors[:-1]) for name in _WIRES}
    return JoinedColumns(
        parts=tuple(parts),
        operator_opcode=np.concatenate(opcodes) + np.repeat(codes, [len(part) for part in opcodes]),
        operator_custom_code=tuple(chain.from_iterable(part.operator_custom_code for part in parts)),
        tensor_shape=_rows([part.tensor_shape for part in parts]),
        tensor_constant_start=np.full(tensors[-1], -1),
        buffer=_NO_FILE,
        **joined,
    )


def _shifted(tensors: Sequence[Sequence[int]], starts: Sequence[int]) -> tuple[int, ...]:
    return tuple(start + tensor for part, start in zip(tensors, starts, strict=True) for tensor in part)


def starts_of(counts: Sequence[int]) -> Array:
    """Return where each of several runs begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _rows(parts: Sequence[Ragged]) -> Ragged:
    values = starts_of([len(part.values) for part in parts])[:-1].tolist()
    offsets = [part.offsets[1:] + start for part, start in zip(parts, values, strict=True)]
    return Ragged(np.concatenate([part.values for part in parts]), np.concatenate([[0], *offsets]))


def _wires(parts: Sequence[Ragged], tensors: Array) -> Ragged:
    """Join tensor indices; those that say "left out" go on saying so."""
    rows = _rows(parts)
    shifted = rows.values + np.repeat(tensors, [len(part.values) for part in parts])
    return Ragged(np.where(rows.values == _LEFT_OUT, _LEFT_OUT, shifted), rows.offsets)
