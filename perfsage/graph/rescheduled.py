"""A subgraph with its operators in another order; its tensors stay where they are."""

from __future__ import annotations

from copy import copy
from functools import cached_property

import numpy as np

from perfsage.graph.columns import Columns
from perfsage.graph.flatbuffer import Array, FlatBuffer
from perfsage.graph.graph import Subgraph
from perfsage.graph.options import OptionTables

_NOWHERE = np.empty(0, np.int64)
_ROWS = ("operator_type", "operator_opcode", "operator_version")
_WIRES = ("operator_inputs", "operator_outputs", "operator_intermediates")


class _Options(OptionTables):
    """The scalar options of the same operators in another order."""

    def __init__(self, tables: OptionTables, order: Array) -> None:
        super().__init__(FlatBuffer(memoryview(b"")), _NOWHERE, _NOWHERE)
        self._tables, self._order = tables, order

    @cached_property
    def keys(self) -> Array:
        """Union key per operator, as `OptionTables.keys`."""
        return self._tables.keys[self._order]

    @cached_property
    def present(self) -> Array:
        """Whether each operator has an options table."""
        return self._tables.present[self._order]

    @cached_property
    def values(self) -> Array:
        """Scalar options [operators, slots], as `OptionTables.values`."""
        return self._tables.values[self._order]


class _Rescheduled(Subgraph):
    """The operators of `original` in another order; what only the file knows is found there."""

    def __init__(self, original: Subgraph, order: Array) -> None:
        columns = _columns(original.columns, order)
        super().__init__(original.index, original.table, original.inputs, original.outputs, columns)
        self._original, self._order = original, order

    @property
    def spans(self) -> tuple[Array, Array]:
        """The rows between which the operators of each tensor's own subgraph lie."""
        return self._original.spans

    @property
    def operator_starts(self) -> Array:
        """Where the operators of each subgraph that was joined begin, and where the last ones end."""
        return self._original.operator_starts

    def part(self, row: int) -> tuple[Subgraph, int]:
        """Return the subgraph that operator `row` comes from, and its row there."""
        return self._original.part(int(self._order[row]))


def rescheduled(subgraph: Subgraph, order: Array) -> Subgraph:
    """Return `subgraph` with operator `order[i]` in row i; graphs that were joined have to stay apart."""
    return _Rescheduled(subgraph, order)


def _columns(columns: Columns, order: Array) -> Columns:
    made = copy(columns)
    changed = {name: getattr(columns, name)[order] for name in _ROWS}
    changed |= {name: getattr(columns, name).take(order) for name in _WIRES}
    for name, value in changed.items():
        object.__setattr__(made, name, value)
    made.__dict__["options"] = _Options(columns.options, order)
    return made
