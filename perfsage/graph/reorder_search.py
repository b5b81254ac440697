"""The order of operators that keeps the fewest bytes alive: a minimax path through sets of done operators.

After Liberis & Lane, "Neural networks on microcontrollers: saving memory at inference via operator
reordering" (2019), which finds the optimum by dynamic programming over such sets. Here the sets are visited
best first, so that small graphs end at the optimum after few of them; large ones fall back to a beam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

MAX_WORK: Final = 8_000_000
"""Operators looked at before a search gives up (exact) or narrows (beam): seconds."""

MAX_BEAM: Final = 48


@dataclass(frozen=True, slots=True)
class Problem:
    """A graph to order; sets of operators are integers with one bit an operator.

    `uses[i]` are the tensors that operator i reads and `makes[i]` those that it writes, each with its index
    into `size` (bytes); `readers[t]` are the operators that must be done before tensor t can go, and `kept`
    tensors never go. `before[i]` must be done before operator i, and `extra[i]` bytes are alive only while it
    runs. `start` bytes are alive before the first operator.
    """

    uses: list[list[int]]
    makes: list[list[int]]
    size: list[int]
    readers: list[int]
    kept: list[bool]
    before: list[int]
    extra: list[int]
    start: int

    @property
    def all_done(self) -> int:
        """The set of all operators."""
        return (1 << len(self.uses)) - 1


@dataclass(frozen=True, slots=True)
class Path:
    """A way to do the operators in `done`: the peak so far, the bytes alive now, and the order in reverse."""

    peak: int
    alive: int
    done: int
    last: int
    previous: Path | None

    def order(self) -> list[int]:
        """Return the operators in the order in which they were done."""
        found = []
        path: Path | None = self
        while path is not None and path.last >= 0:
            found.append(path.last)
            path = path.previous
        return found[::-1]


def search(problem: Problem) -> tuple[list[list[int]], bool]:
    """Return promising orders, best first, and whether the first is known to have the least peak."""
    best = _exact(problem)
    if best is not None:
        return [best.order()], True
    return [path.order() for path in _beam(problem)], False


def _start(problem: Problem) -> Path:
    return Path(problem.start, problem.start, 0, -1, None)


def _exact(problem: Problem) -> Path | None:
    heap: list[tuple[int, int, int, Path]] = []
    seen: set[int] = set()
    count = work = 0
    path = _settle(problem, _start(problem))
    while path.done != problem.all_done:
        for child in _children(problem, path):
            settled = _settle(problem, child)
            count += 1
            work += len(problem.uses) * (1 + settled.done.bit_count() - child.done.bit_count())
            if settled.done not in seen:
                heappush(heap, (settled.peak, -settled.done.bit_count(), count, settled))
        while heap and heap[0][3].done in seen:
            heappop(heap)
        if not heap or work > MAX_WORK:
            return None
        path = heappop(heap)[3]
        seen.add(path.done)
    return path


def _beam(problem: Problem) -> list[Path]:
    width = max(1, min(MAX_BEAM, MAX_WORK // max(1, len(problem.uses) ** 2)))
    paths = [_start(problem)]
    for _ in problem.uses:
        best: dict[int, Path] = {}
        for child in (child for path in paths for child in _children(problem, path)):
            known = best.get(child.done)
            if known is None or (child.peak, child.alive) < (known.peak, known.alive):
                best[child.done] = child
        paths = sorted(best.values(), key=lambda path: (path.peak, path.alive))[:width]
    return paths


def _children(problem: Problem, path: Path) -> Iterator[Path]:
    for operator in _ready(problem, path.done):
        yield _do(problem, path, operator)


def _ready(problem: Problem, done: int) -> Iterator[int]:
    left = problem.all_done & ~done
    while left:
        bit = left & -left
        left ^= bit
        operator = bit.bit_length() - 1
        if not problem.before[operator] & ~done:
            yield operator


def _do(problem: Problem, path: Path, operator: int) -> Path:
    done = path.done | 1 << operator
    size = problem.size
    running = path.alive + sum(size[tensor] for tensor in problem.makes[operator])
    gone = sum(
        size[tensor]
        for tensor in {*problem.uses[operator], *problem.makes[operator]}
        if not problem.kept[tensor] and not problem.readers[tensor] & ~done
    )
    peak = max(path.peak, running + problem.extra[operator])
    return Path(peak, running - gone, done, operator, path)


def _settle(problem: Problem, path: Path) -> Path:
    """Do every operator that cannot hurt: one that raises neither the peak nor the bytes alive.

    Doing it now is never worse than later: what it frees only grows with what else is done.
    """
    moved = True
    while moved:
        moved = False
        for operator in _ready(problem, path.done):
            child = _do(problem, path, operator)
            if child.peak == path.peak and child.alive <= path.alive:
                path, moved = child, True
                break
    return path
