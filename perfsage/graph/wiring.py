"""Checks that operators are wired to tensors that exist, in an order in which they can run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfsage.errors import InvalidModelError
from perfsage.graph.columns import Columns
from perfsage.graph.ragged import Ragged


def check_wiring(
    subgraph: int, columns: Columns, inputs: Sequence[int], outputs: Sequence[int], position: int
) -> None:
    """Refuse tensor indices out of range and operators that read what is written later or by themselves."""
    tensors = len(columns.tensor_type)
    for name, indices in (("inputs", inputs), ("outputs", outputs)):
        if indices and not (min(indices) >= 0 and max(indices) < tensors):
            raise InvalidModelError(
                f"subgraph {subgraph} has {name} outside its {tensors} tensors", offset=position
            )
    for wire in (columns.operator_inputs, columns.operator_outputs, columns.operator_intermediates):
        _check_range(subgraph, columns, wire, tensors)
    _check_order(subgraph, columns, tensors)


def _check_range(subgraph: int, columns: Columns, wire: Ragged, tensors: int) -> None:
    values = wire.values
    if len(values) and (values.min() < -1 or values.max() >= tensors):
        bad = int(np.flatnonzero((values < -1) | (values >= tensors))[0])
        row = wire.row_of(bad)
        raise InvalidModelError(
            f"operator {row} of subgraph {subgraph} uses tensor {values[bad]} of {tensors}",
            offset=int(columns.operator_position[row]),
        )


def _check_order(subgraph: int, columns: Columns, tensors: int) -> None:
    """Operators run in file order, so each may only read what an earlier one has written."""
    read, written = columns.operator_inputs, columns.operator_outputs
    producer = np.full(tensors + 1, -1, np.int64)
    # Assigned backwards, so that the first of several writers stays; row -1 takes the left-out tensors.
    producer[written.values[::-1]] = written.row_indices[::-1]
    producer[-1] = -1
    readers = read.row_indices
    late = producer[read.values] >= readers
    if late.any():
        bad = int(late.argmax())
        raise InvalidModelError(
            f"operator {readers[bad]} of subgraph {subgraph} reads tensor {read.values[bad]}, which "
            f"operator {producer[read.values[bad]]} writes: a cycle, or operators out of order",
            offset=int(columns.operator_position[readers[bad]]),
        )


def check_calls(subgraphs: Sequence[Columns]) -> None:
    """Refuse calls of subgraphs that do not exist, and subgraphs that end up calling themselves."""
    called = {
        index: sorted({target for _, target in columns.options.called(len(subgraphs))})
        for index, columns in enumerate(subgraphs)
    }
    waiting = dict.fromkeys(called, 0)
    for targets in called.values():
        for target in targets:
            waiting[target] += 1
    ready = [index for index, count in waiting.items() if not count]
    while ready:
        for target in called[ready.pop()]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if any(waiting.values()):
        looping = min(index for index, count in waiting.items() if count)
        raise InvalidModelError(f"subgraph {looping} calls itself, directly or through others")
