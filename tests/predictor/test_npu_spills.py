"""Which tensors the larger U85 keep in SRAM: those that are read and written most of what fits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from perfsage.features.npu.cascade_steps import Steps
from perfsage.features.npu.cascades import Ranges
from perfsage.features.npu.keeping import MOST_COMPETING, best_kept
from perfsage.features.npu.spills import spilled, stripes_of
from perfsage.features.npu.stripes import cascades
from perfsage.features.npu.work import SPILL_BYTES

LIMIT = SPILL_BYTES[0]


class _Operands(SimpleNamespace):
    """Operators in a row, each reading what the one before made: a double, since no graph is needed."""

    def is_type(self, *names: str) -> Any:
        return np.array([kind in names for kind in self.type])


def _beyond(operands: Any, ranges: Ranges, ahead: float = 0.0) -> list[int]:
    """Return the bits of each tensor, with so many bytes of weights beside them."""
    count, tensors = len(ranges.live), len(ranges.root)
    stripes = stripes_of(operands, ranges, _no_steps(count))
    weights = np.full((count, len(SPILL_BYTES)), ahead)
    often = np.repeat(2.0 * ranges.bytes[:, None], len(SPILL_BYTES), axis=1)
    seen = often, np.zeros(count, dtype=np.bool_)
    spills = spilled(operands, ranges, stripes, np.zeros(tensors, dtype=np.int64), weights, lambda: seen)
    return [int(bits) for bits in spills.beyond]


def _no_steps(count: int) -> Steps:
    """Return operators of which none may follow another in a cascade."""
    nobody, none = np.full(count, -1), np.zeros(count)
    flags = np.zeros(count, dtype=np.bool_)
    return Steps(flags, flags, nobody, nobody, nobody, flags, none, none, none, none, none, none, flags, none)


def _chain(shares: list[float], types: list[str] | None = None, ahead: float = 0.0) -> list[int]:
    """Return the bits of each tensor of a chain, whose sizes are `shares` of the smallest limit.

    So is `ahead`, what weights take.
    """
    count = len(shares)
    size = np.array([share * LIMIT for share in shares] + [0.0])
    first, last = np.arange(count + 1) - 1, np.arange(count + 1)
    live = np.array(
        [size[:count][(first[:count] <= row) & (last[:count] >= row)].sum() for row in range(count)]
    )
    operands: Any = _Operands(
        type=types or ["CONV_2D"] * count,
        data=np.arange(count),
        second=np.full(count, count),
        result=np.minimum(np.arange(count) + 1, count),
        absent=count,
    )
    first[count], last[count] = count, -1
    ranges = Ranges(np.arange(count + 1), np.maximum(first, 0), last, size, live)
    return _beyond(operands, ranges, ahead * LIMIT)[:count]


def test_what_fits_stays() -> None:
    assert _chain([0.5, 0.4, 0.5]) == [0, 0, 0]


def test_weights_have_their_place_before_tensors_do() -> None:
    assert _chain([0.5, 0.5]) == [0, 0]
    assert [bits & 1 for bits in _chain([0.5, 0.5], ahead=0.1)] == [0, 1]


def test_what_is_too_large_by_itself_goes_and_makes_room() -> None:
    found = _chain([0.5, 1.2, 0.5])
    assert [bits & 1 for bits in found] == [0, 1, 0]
    assert not found[1] & 4


def test_two_that_fit_are_kept_rather_than_a_larger_one_between_them() -> None:
    assert _chain([0.6, 0.7, 0.6])[:3] == [0, 1, 0]


def test_arithmetic_has_both_operands_in_the_same_memory() -> None:
    size = np.array([1.5, 0.2, 0.0]) * LIMIT
    operands: Any = _Operands(
        type=["ADD"], data=np.array([0]), second=np.array([1]), absent=2, result=np.array([2])
    )
    ranges = Ranges(
        np.arange(3), np.array([0, 0, 1]), np.array([0, 0, -1]), size, size[:2].sum(keepdims=True)
    )
    assert _beyond(operands, ranges)[:2] == [3, 3]


def test_stripes_of_sizes_that_no_network_has_take_no_memory() -> None:
    huge, nobody = np.full(3, 2.0**31), np.full(3, -1)
    flags, tensors = np.zeros(3, dtype=np.bool_), np.arange(3)
    one, none = np.ones(3), np.zeros(3)
    following = np.array([1, 2, -1])
    steps = Steps(
        ~flags, flags, following, tensors, tensors, flags, huge, huge, one, one, none, none, flags, huge
    )
    assert [made.rows for made in cascades(steps, LIMIT)] == [[0, 1, 2]]
    assert not list(cascades(replace(steps, next=nobody), LIMIT))


def _tried(begin: Any, end: Any, size: Any, accesses: Any, room: Any) -> list[bool]:
    """Return which to keep, after trying each choice, those first that keep the first ones."""
    best, chosen = -1.0, [False] * len(size)
    for choice in product([True, False], repeat=len(size)):
        used = np.zeros(len(room))
        for place in np.flatnonzero(choice):
            used[begin[place] : end[place]] += size[place]
        score = float(accesses[np.array(choice)].sum())
        if (used <= room).all() and score > best:
            best, chosen = score, list(choice)
    return chosen


def test_what_is_kept_is_what_trying_all_choices_finds() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        begin = np.sort(rng.integers(0, 12, 9))
        end = begin + rng.integers(1, 6, 9)
        size, accesses = rng.integers(1, 9, (2, 9)).astype(np.float64)
        given = begin, end, size, accesses, rng.integers(8, 24, 20).astype(np.float64)
        assert best_kept(*given).tolist() == _tried(*given)


def test_as_many_compete_as_vela_tries_at_once() -> None:
    # One tensor is there all the time, and read less than the short ones beside it.
    count = MOST_COMPETING - 1
    begin = np.append(0, np.arange(count))
    end = np.append(count, np.arange(count) + 1)
    size = np.append(6.0, np.full(count, 5.0))
    accesses = np.append(15.0, np.ones(count))
    kept = best_kept(begin, end, size, accesses, np.full(count, 10.0))
    assert not kept[0]
    assert kept[1:].all()
