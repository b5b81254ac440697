"""The search for blocks beside one that tries every block in turn, as Vela does."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import numpy as np
import pytest

from perfsage.features.npu.blocks import choose_blocks
from perfsage.features.npu.geometry import GEOMETRIES, GEOMETRY_NAMES, Geometry
from perfsage.features.npu.search import SPLIT_DEPTH
from perfsage.features.npu.work import CONVOLUTION, DEPTHWISE, ELEMENTWISE, POOLING, Work

Block = tuple[int, int, int]
_SHAPES = ("out_h", "out_w", "out_c", "in_h", "in_w", "in_c", "kernel_h", "kernel_w", "stride_h", "stride_w")
CASES = {
    "tall and narrow": (CONVOLUTION, (30, 1, 64, 30, 1, 64, 7, 1, 1, 1)),
    "a first layer": (CONVOLUTION, (33, 20, 24, 66, 40, 3, 5, 3, 2, 2)),
    "a single row": (CONVOLUTION, (1, 90, 96, 1, 90, 40, 1, 1, 1, 1)),
    "every third place": (CONVOLUTION, (20, 20, 40, 60, 60, 48, 1, 1, 3, 3)),
    "few channels beyond whole slices": (CONVOLUTION, (10, 10, 24, 10, 10, 48, 1, 1, 1, 1)),
    "a large kernel": (CONVOLUTION, (12, 12, 20, 12, 12, 12, 19, 9, 1, 1)),
    "alone with its channel": (DEPTHWISE, (17, 5, 88, 17, 5, 88, 3, 3, 1, 1)),
    "a small image": (DEPTHWISE, (3, 3, 72, 3, 3, 72, 5, 5, 1, 1)),
    "a copy": (POOLING, (20, 20, 40, 20, 20, 40, 1, 1, 1, 1)),
    "element by element": (ELEMENTWISE, (14, 14, 91, 14, 14, 91, 1, 1, 1, 1)),
}


def _work(kind: int, shape: tuple[int, ...]) -> Work:
    named = dict(zip(_SHAPES, shape, strict=True))
    named |= {"span_h": named["kernel_h"], "span_w": named["kernel_w"], "enlarged": 1, "kind": kind}
    return Work(**{f.name: np.array([float(named.get(f.name, 0))]) for f in fields(Work)})


def _up(value: float, multiple: int) -> int:
    return int(-(-value // multiple) * multiple)


def _depths(channels: int, step: int) -> list[int]:
    """Return the depths in the order of Vela's loop."""
    end = _up(min(channels, 128), step)
    depth = max(step, min(end, SPLIT_DEPTH))
    found = []
    while True:
        depth = _up(depth, SPLIT_DEPTH) if depth < channels else depth
        if depth > end:
            return found
        found.append(depth)
        depth += step


def _banks(size: int, granule: int) -> int:
    return _up(-(-size // 1024) * 2, granule)


def _one_by_one(work: Work, geometry: Geometry, kind: int) -> Block:
    """Return the block that `FindBlockConfig` ends with, in arithmetic of 32 bits."""
    size = {f.name: int(getattr(work, f.name)[0]) for f in fields(Work)}
    step_h, step_w, step_c = geometry.microblocks[0]
    alone, weighted = kind != CONVOLUTION, kind in (CONVOLUTION, DEPTHWISE)
    own = _up(min(size["in_c"], 16 if work.kernel_first_u55[0] else 32), 8)
    heights = range(step_h, _up(min(size["out_h"], 32), step_h) + 1, step_h)
    widths = range(step_w, _up(min(size["out_w"], 64), step_w) + 1, step_w)
    free = geometry.banks - 2 - (2 if geometry.banks > 16 else 0)
    best, covers, chosen = np.float32(np.inf), np.inf, (0, 0, 0)
    f, image = np.float32, size["in_h"] * size["in_w"]
    for depth, h, w in product(_depths(size["out_c"], step_c), heights, widths):
        low = 1 if step_h == 2 and size["out_h"] == 1 and size["kernel_h"] == 1 else h
        rows = _up((h - 1) * size["stride_h"] + min(size["span_h"], 8), step_h)
        columns = _up((w - 1) * size["stride_w"] + min(size["span_w"], 8), step_w)
        channels = depth if alone else own
        inputs = _banks(rows * columns * _up(channels, 8), geometry.input_granule)
        sums = _banks(low * w * _up(depth, 8) * 4, geometry.sum_granule)
        if inputs + (inputs if kind == ELEMENTWISE else sums) > free:
            continue
        over = f(size["out_w"]) / f(w), f(size["out_h"]) / f(low), f(size["out_c"]) / f(depth)
        blocks = -(-size["out_h"] // low) * -(-size["out_w"] // w)
        kernel = size["kernel_h"] * size["kernel_w"] if weighted else 0
        weights = f(kernel * size["in_c"] * blocks) * (f(1) if kind == DEPTHWISE else over[2] * f(depth))
        parts = -(-size["span_h"] // 8) * -(-size["span_w"] // 8)
        read = f(rows * columns * size["in_c"] * parts) * over[0] * over[1]
        read *= f(1) if alone else np.ceil(over[2])
        outputs = f(size["out_h"] * size["out_w"] * size["out_c"])
        cost = outputs / f(h * w * depth) if kind == ELEMENTWISE else (read + weights) / outputs
        cost = cost / f(2) if image * size["in_c"] < rows * columns * channels * 2 else cost
        coverage = image / (min(size["in_h"], rows) * min(size["in_w"], columns))
        if cost < best:
            best, covers, chosen = cost, np.inf, (h, w, depth)
        elif cost == best and coverage <= covers and h <= 4 and w <= 4:
            covers, chosen = coverage, (h, w, depth)
    return chosen


@pytest.mark.parametrize("accelerator", ["u55_32", "u55_64", "u55_128", "u55_256"])
@pytest.mark.parametrize("case", CASES)
def test_blocks_are_those_that_a_search_one_by_one_ends_with(case: str, accelerator: str) -> None:
    kind, shape = CASES[case]
    work, geometry = _work(kind, shape), GEOMETRIES[GEOMETRY_NAMES.index(accelerator)]
    found = choose_blocks(work, geometry)
    ours = int(found.height[0]), int(found.width[0]), int(found.depth[0])
    assert ours == _one_by_one(work, geometry, kind)


def test_blocks_do_not_depend_on_what_is_searched_beside_them() -> None:
    works = [_work(*case) for case in CASES.values()]
    together = Work(
        **{f.name: np.concatenate([getattr(work, f.name) for work in works]) for f in fields(Work)}
    )
    for geometry in GEOMETRIES[:4]:
        found = choose_blocks(together, geometry)
        alone = [choose_blocks(work, geometry) for work in works]
        for name in ("height", "width", "depth"):
            assert getattr(found, name).tolist() == [float(getattr(one, name)[0]) for one in alone]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [CONVOLUTION, DEPTHWISE, POOLING, ELEMENTWISE])
def test_sizes_that_no_network_has_end_with_some_block(kind: int) -> None:
    huge = _work(kind, (2**31,) * len(_SHAPES))
    for geometry in GEOMETRIES[:4]:
        found = choose_blocks(huge, geometry)
        assert found.height[0] >= 1 and found.width[0] >= 1 and found.depth[0] >= 1
