"""The activation memory that an inference needs: TFLM's static memory plan, computed from the file.

Each tensor without data in the file, and each scratch buffer that a reference kernel asks for, is rounded
up to 16 bytes and alive from the operator that writes it to the last that uses it; inputs from the start,
outputs to the end, everything in a subgraph that nothing calls before the start. The buffers are then
placed greedily (`perfsage.graph.memory_planner`). The result is what TFLM reports as "arena head".

It holds on every target, since no pointer is stored there but by ADD_N: tensors and the scratch buffers of
reference kernels have the same size on a Cortex-M. What differs is kernels optimised for a target, which
ask for other scratch buffers, and the rest of the arena (see `perfsage.graph.memory_arena`). What custom
operators ask for is not in the file and not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

from perfsage.errors import InvalidInputError
from perfsage.graph.costs_formulas import LARGEST
from perfsage.graph.graph import Graph, Subgraph
from perfsage.graph.lifetimes import NEVER, live_bytes, usage
from perfsage.graph.memory_planner import place
from perfsage.graph.memory_scratch import scratch_bytes
from perfsage.graph.memory_steps import Spans, Step, Walked, walk
from perfsage.measurement import OperatorRef

Int64 = npt.NDArray[np.int64]

ALIGNMENT_BYTES: Final = 16
OFFLINE_PLAN: Final = "OfflineMemoryAllocation"
"""Metadata buffer in which a file brings offsets of its own: version, subgraph, count, then the offsets."""


@dataclass(frozen=True, slots=True)
class PlannedBuffer:
    """A place in the arena: a tensor's, or that of the scratch buffer of `operator`."""

    subgraph: int
    tensor: int | None
    operator: int | None
    offset_bytes: int
    size_bytes: int
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where every buffer lies, one row each, and what is alive when.

    Step 0 is before the first operator; step s > 0 runs `steps[s]`. Sizes include the rounding up to 16
    bytes. `tensor` is -1 for scratch buffers, `operator` -1 for tensors. Step -1 holds the buffers of
    subgraphs that nothing calls.
    """

    peak_bytes: int
    subgraph: Int64
    tensor: Int64
    operator: Int64
    offset_bytes: Int64
    size_bytes: Int64
    first_step: Int64
    last_step: Int64
    steps: tuple[Step, ...]

    @property
    def buffers(self) -> Iterator[PlannedBuffer]:
        """The rows as objects."""
        columns = (self.subgraph, self.tensor, self.operator, self.offset_bytes, self.size_bytes)
        rows = np.stack([*columns, self.first_step, self.last_step], axis=1).tolist()
        for subgraph, tensor, operator, *rest in rows:
            yield PlannedBuffer(
                subgraph, tensor if tensor >= 0 else None, operator if operator >= 0 else None, *rest
            )

    @property
    def live_bytes(self) -> Int64:
        """Bytes alive at each step: a plan cannot be smaller than the largest."""
        return live_bytes(self.first_step + 1, self.last_step + 1, self.size_bytes, len(self.steps) + 1)[1:]

    @property
    def peak_operator(self) -> OperatorRef | None:
        """The first operator at which most bytes are alive; None before the first operator."""
        if not len(self.size_bytes):
            return None
        step = self.steps[int(np.argmax(self.live_bytes))]
        return None if step.operator is None else OperatorRef(step.subgraph, step.operator)


def plan_memory(graph: Graph) -> MemoryPlan:
    """Return TFLM's memory plan for `graph` with the operators in the order of the file.

    Raises InvalidInputError when a tensor has no fixed size, or when there are too many buffers.
    """
    walked = walk(graph)
    steps = walked[0] if walked else _straight_steps(graph.subgraphs[0])
    table, offset = _place(graph, walked)
    subgraph, tensor, operator, size, first, last = table
    peak = int((offset + size).max(initial=0))
    return MemoryPlan(peak, subgraph, tensor, operator, offset, size, first, last, steps)


def plan_head(graph: Graph) -> tuple[int, int]:
    """Return the plan's `peak_bytes` and its number of scratch buffers: what the arena needs of it."""
    table, offset = _place(graph, walk(graph))
    return int((offset + table[3]).max(initial=0)), int((table[1] < 0).sum())


def plan_heads(joined: Subgraph) -> list[tuple[int, int]]:
    """Return what `plan_head` does for each of the graphs whose only subgraphs were joined.

    None of them may bring offsets of its own. All are placed at once, each in steps of its own, so that no
    buffer is alive with another graph's. InvalidInputError where one of them has no plan, or all have too
    many buffers together.
    """
    starts = joined.operator_starts
    begin = joined.spans[0]
    first, last = (np.where(row == NEVER, begin - 2, row) + 1 for row in usage(joined))
    steps = np.arange(1, starts[-1] + 1)
    rows = [_tensor_rows(joined, spans := Spans(first, last, np.stack([steps, steps])))]
    rows.append(_scratch_rows(joined, spans))
    table = np.concatenate(rows, axis=1)
    size = _aligned(table)
    owner = np.where(table[1] >= 0, begin[table[1]], table[2])
    owner = np.searchsorted(starts, owner, "right") - 1
    # Before its operators, each graph has a step for its inputs and one for what nobody uses.
    offset = place(size, table[4] + 2 * owner, table[5] + 2 * owner)
    heads = np.zeros(len(starts) - 1, np.int64)
    np.maximum.at(heads, owner, offset + size)
    scratch = np.bincount(owner[table[1] < 0], minlength=len(heads))
    return list(zip(heads.tolist(), scratch.tolist(), strict=True))


def _aligned(table: Int64) -> Int64:
    """Round the sizes in a table of buffers up, and return them."""
    size: Int64 = table[3]
    np.multiply(-(-size // ALIGNMENT_BYTES), ALIGNMENT_BYTES, out=size)
    return size


def _place(graph: Graph, walked: Walked | None) -> tuple[Int64, Int64]:
    """Return the buffers (subgraph, tensor, operator, size, first, last: int64[6, n]) and their offsets."""
    spans = walked[1] if walked else [_straight(graph.subgraphs[0])]
    rows = [_tensor_rows(part, span) for part, span in zip(graph.subgraphs, spans, strict=True)]
    rows += [_scratch_rows(part, span) for part, span in zip(graph.subgraphs, spans, strict=True)]
    table = np.concatenate(rows, axis=1)
    return table, place(_aligned(table), table[4], table[5], _offline_offsets(graph, table[0], table[1]))


def _straight_steps(subgraph: Subgraph) -> tuple[Step, ...]:
    return (Step(0, None), *map(Step, repeat(0), range(len(subgraph.columns.operator_type))))


def _straight(subgraph: Subgraph) -> Spans:
    """Return the spans of a subgraph that runs once, alone."""
    first, last = usage(subgraph)
    steps = np.arange(1, len(subgraph.columns.operator_type) + 1)
    return Spans(first + 1, last + 1, np.stack([steps, steps]))


def _tensor_rows(subgraph: Subgraph, spans: Spans) -> Int64:
    """Return the rows of the tensors that need a place: subgraph, tensor, operator, size, first, last."""
    columns = subgraph.columns
    needs = ~columns.tensor_is_constant & ~columns.tensor_is_variable & (columns.tensor_bytes != 0)
    tensors = np.flatnonzero(needs)
    size = columns.tensor_bytes[tensors]
    bad = np.flatnonzero((size < 0) | (size > LARGEST))
    if len(bad):
        raise InvalidInputError(
            f"tensor {tensors[bad[0]]} has no fixed size",
            where=f"subgraph {subgraph.index}",
            hint="A static memory plan needs the size of every tensor.",
        )
    made = np.empty((6, len(tensors)), np.int64)
    made[0], made[1], made[2], made[3] = subgraph.index, tensors, -1, size
    made[4], made[5] = spans.first[tensors], spans.last[tensors]
    return made


def _scratch_rows(subgraph: Subgraph, spans: Spans) -> Int64:
    """Return the rows of the scratch buffers, alive while their operator runs."""
    found = np.array(scratch_bytes(subgraph), np.int64).reshape(-1, 2).T
    made = np.empty((6, found.shape[1]), np.int64)
    made[0], made[1], made[2], made[3] = subgraph.index, -1, found[0], found[1]
    made[4:] = spans.operators[:, found[0]]
    return made


def _offline_offsets(graph: Graph, subgraph: Int64, tensor: Int64) -> Int64 | None:
    """Return the offsets that the file itself prescribes, -1 where it leaves the planner free."""
    if OFFLINE_PLAN not in graph.metadata:
        return None
    words = np.frombuffer(bytes(graph.buffer(graph.metadata[OFFLINE_PLAN])), "<i4")
    counts = [len(part.columns.tensor_type) for part in graph.subgraphs]
    if len(words) < 3 or words[2] != sum(counts) or len(words) < 3 + words[2]:
        raise InvalidInputError(
            "the offline memory plan does not have one offset for each tensor",
            where=f"metadata {OFFLINE_PLAN}",
            hint="Remove that metadata, or convert the model again.",
        )
    # TFLM looks each subgraph's tensors up from the start of the list.
    return np.where(tensor >= 0, words[3:].astype(np.int64)[np.maximum(tensor, 0)], -1)
