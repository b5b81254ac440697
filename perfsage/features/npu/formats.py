"""How an NPU finds each operator's data in memory: in bricks of 16 channels, row by row, or outside.

What enters or leaves the graph or the accelerator, or is renamed by a reshape, stays as the file has it,
channels last; short runs of it waste most of each burst. Everything else lies in bricks. Vela 5 decides so; a
comparison with its own tables (80 networks) found these rules right for nine of ten tensors.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.axes import mean_over_channels
from perfsage.features.operands import Operands, remembered
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]

BRICKS, LINEAR, EDGE = range(3)
"""EDGE is linear, too, and lies where the application has it: in DRAM, for the larger accelerators."""
BRICK = 16
MOST_DILATION = 2
"""Kernels whose elements are further apart are filled with zeros."""
MOST_ROWS = 1 << 20
"""Layers of more rows than this stay one row high: looking for a divisor must end."""
FEW_CHANNELS, LEAST_TURNED = 8, 16
"""Softmaxes of fewer channels get another shape; those of fewer rows or columns are not transposed first."""
ARITHMETIC = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")
TABLES = (
    *("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "PRELU", "ELU", "GELU"),
    *("EXP", "LOG", "RSQRT", "SQRT"),
)
"""Functions of one value, which a look-up table holds."""
FUNCTIONS = (*TABLES, "RELU", "RELU6")
COPIES = (*FUNCTIONS, "QUANTIZE", "PAD", "PADV2", "MIRROR_PAD")
"""What an NPU does as a pooling of one element where nothing else does it on the way out."""
REDUCTIONS = ("REDUCE_MAX", "REDUCE_MIN", "SUM", "ARG_MAX")
"""These are worked off like poolings of one element over what they read."""
ALIASES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
PARTS = ("SPLIT", "SPLIT_V", "UNPACK", "SLICE", "STRIDED_SLICE")
"""What these make lies where their input does, but for what has to leave the graph."""
JOINTS = ("CONCATENATION", "PACK")
"""The parts of these are written where their result lies."""
_RENAMING = (*ALIASES, "SPLIT", "SPLIT_V", "SOFTMAX", "PACK", "UNPACK")

_ROWS = ("BATCH_MATMUL", "TRANSPOSE", "SQUARED_DIFFERENCE")
"""What U55 and U65 read and write in rows: they have no other way, or make integers of it."""
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
"""Its steps are parts of what it reads, in another shape."""


@remembered
def tensor_formats(subgraph: Subgraph, operands: Operands, refused: Flags, rows: Flags) -> NDArray[np.int64]:
    """Return the format of each tensor, int64[tensors + 1].

    `refused` bool[n] goes to and from the CPU, `rows` bool[n, 2] is as `in_rows` says.
    """
    renamed = renaming(operands) & ~operands.is_type("SOFTMAX")
    renamed |= _flattening(operands) | mean_over_channels(subgraph.columns, operands)
    formats = np.full(operands.absent + 1, BRICKS, dtype=np.int64)
    for linear, kind in ((renamed[:, None] | rows, LINEAR), (np.stack([refused, refused], axis=1), EDGE)):
        for place, table in enumerate((subgraph.columns.operator_inputs, subgraph.columns.operator_outputs)):
            formats[table.values[linear[table.row_indices, place]]] = kind
    # What is transposed at last is written in rows.
    several = operands.result[multiples(operands) > 1]
    formats[several] = np.maximum(formats[several], LINEAR)
    uneven = _laid_out(subgraph, operands) | _uneven(subgraph, operands) | _unaligned(subgraph, operands)
    formats[uneven & (formats == BRICKS)] = LINEAR
    formats[[*subgraph.inputs, *subgraph.outputs]] = EDGE
    _pass_on(subgraph, operands, formats)
    _leave(subgraph, operands, refused, formats)
    formats[-1] = BRICKS
    return formats


def _pass_on(subgraph: Subgraph, operands: Operands, formats: NDArray[np.int64]) -> None:
    """Give what is named anew or cut out the format of what it is made of, in `formats`, and the other way.

    What is cut out lies in what it is cut out of; what leaves the graph is copied out of that.
    """
    cut = operands.is_type(*PARTS)
    views = np.flatnonzero(cut | operands.is_type(*ALIASES)).tolist()
    made = [subgraph.columns.operator_outputs[row] for row in views]
    for row, results in zip(views, made, strict=True):
        formats[results] = np.maximum(formats[results], formats[operands.data[row]])
    for row, results in zip(reversed(views), reversed(made), strict=True):
        most = formats[results].max(initial=BRICKS)
        if most == LINEAR or not cut[row]:
            formats[operands.data[row]] = max(formats[operands.data[row]], most)


def in_rows(subgraph: Subgraph, operands: Operands, *, u85: bool) -> Flags:
    """Return which operators need what they read and what they write in rows, bool[n, 2]."""
    both = operands.is_type("SOFTMAX", *() if u85 else _ROWS)
    read = both | (operands.is_type("ARG_MAX") & u85) | operands.is_type(LSTM)
    if u85:
        read &= ~_turned(operands)
    return np.stack([read, both | (in_phases(subgraph, operands) & (not u85))], axis=1)


def _turned(operands: Operands) -> Flags:
    """Return which softmaxes begin by putting channels first, and read these as they come, bool[n]."""
    batch, height, width, depth = operands.dimensions[operands.data].T
    across = np.where(width > 1, width, batch * height)
    turned: Flags = operands.is_type("SOFTMAX") & (across >= LEAST_TURNED) & (depth >= FEW_CHANNELS)
    return turned


@remembered
def in_phases(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which operators double an image in four phases on U55 and U65, each every other pixel."""
    doubled = operands.is_type("RESIZE_BILINEAR")
    if not doubled.any():
        return doubled
    half = subgraph.columns.attribute("half_pixel_centers").astype(np.bool_)
    before, after = (operands.dimensions[tensor][:, 1:3] for tensor in (operands.data, operands.result))
    twice = (after == 2.0 * before).all(axis=1)
    return np.asarray(doubled & half & twice & (before.prod(axis=1) > 1))


@remembered
def in_groups(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which convolutions are worked off one for each group of channels, bool[n].

    Those of a channel each, in and out, are depthwise ones, unless elements of the kernel are far apart.
    """
    grouped = operands.is_type("CONV_2D") & operands.has_weight
    if not grouped.any():
        return np.asarray(grouped)
    channels, of_group = (operands.dimensions[side][:, 3] for side in (operands.data, operands.weight))
    dilation = np.maximum(*(subgraph.columns.attribute(f"dilation_{axis}_factor") for axis in "hw"))
    alone = (of_group == 1) & (operands.dimensions[operands.result][:, 3] == channels)
    alone &= dilation <= MOST_DILATION
    return np.asarray(grouped & (channels >= 2 * np.maximum(of_group, 1.0)) & ~alone)


def _unaligned(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return tensors of which groups of a convolution begin within a brick, bool[tensors + 1]."""
    rows = np.flatnonzero(in_groups(subgraph, operands))
    made = np.zeros(operands.absent + 1, dtype=np.bool_)
    if not len(rows):
        return made
    into, of_group = (
        operands.dimensions[operands.data[rows], 3],
        operands.dimensions[operands.weight[rows], 3],
    )
    out = operands.dimensions[operands.result[rows], 3] / np.floor(into / np.maximum(of_group, 1.0))
    for tensors, depth in ((operands.data, of_group), (operands.result, out)):
        made[tensors[rows[depth % BRICK > 0]]] = True
    return made


def multiples(operands: Operands) -> NDArray[np.float64]:
    """Return how many channels a depthwise convolution gives for each of its own, float64[n]; else 1.

    One of a single channel is an ordinary convolution.
    """
    rows, made = np.flatnonzero(operands.is_type("DEPTHWISE_CONV_2D")), np.ones(len(operands.type))
    depth = np.maximum(operands.dimensions[operands.data[rows], 3], 1.0)
    result = operands.dimensions[operands.result[rows], 3]
    several = (depth > 1) & (result >= depth) & (result % depth == 0)
    made[rows] = np.where(several, result / depth, 1.0)
    return made


def _laid_out(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return tensors that a fully connected layer sees as an image of another shape than others do."""
    made = [np.zeros(operands.absent + 1, dtype=np.bool_) for _ in range(2)]
    laid = rows_as_image(subgraph, operands)
    if not laid.any():
        return made[0]
    for table in (subgraph.columns.operator_inputs, subgraph.columns.operator_outputs):
        for place, those in enumerate((laid, ~laid & ~operands.is_type(*FUNCTIONS))):
            made[place][table.values[those[table.row_indices] & (table.values >= 0)]] = True
    return np.asarray(made[0] & made[1])


@remembered
def rows_as_image(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which fully connected layers have their rows laid out as an image of another shape, bool[n]."""
    sides = operands.dimensions[operands.result][:, :3]
    laid = np.zeros(len(sides), dtype=np.bool_)
    # An activation is an operator of its own, which writes rows again.
    bare = subgraph.columns.attribute("fused_activation_function") == 0
    for row in np.flatnonzero(operands.is_type("FULLY_CONNECTED") & (sides[:, 2] > 1) & bare):
        rows = int(sides[row].prod())
        laid[row] = rows // squarest(rows) != sides[row, 2]
    return laid


@lru_cache(maxsize=1024)
def squarest(rows: int) -> int:
    """Return the height of the image that is as square as it can be with so many pixels."""
    first = math.isqrt(rows) if rows <= MOST_ROWS else 1
    return next(height for height in range(first, 0, -1) if rows % height == 0)


def _leave(subgraph: Subgraph, operands: Operands, refused: Flags, formats: NDArray[np.int64]) -> None:
    """What is computed as a part of what leaves the graph alone is written there; so is what is in rows."""
    table = subgraph.columns.operator_inputs
    leaving = operands.is_type("CONCATENATION") & (formats[operands.result] != BRICKS) & ~refused
    if leaving.any():
        there = leaving[table.row_indices]
        parts, kinds = table.values[there], formats[operands.result[table.row_indices[there]]]
        written = (makers(subgraph, operands, refused)[parts] >= 0) & (operands.readers[parts] == 1)
        formats[parts[written]] = kinds[written]


def renaming(operands: Operands) -> Flags:
    """Return which operators only name elements anew, or need them in a row."""
    return operands.is_type(*_RENAMING)


@remembered
def makers(subgraph: Subgraph, operands: Operands, unable: Flags) -> NDArray[np.int64]:
    """Return the row of what computes each tensor, int64[tensors + 1]; -1 where nothing does.

    What only names its input anew, joins others, or is `unable` bool[n], does not compute.
    """
    results = subgraph.columns.operator_outputs
    able = ~(renaming(operands) | operands.is_type("CONCATENATION") | unable)
    made = np.full(operands.absent + 1, -1)
    made[results.values] = np.where(able[results.row_indices], results.row_indices, -1)
    return made


def _flattening(operands: Operands) -> Flags:
    """Return which fully connected layers read an image as one row."""
    weights = operands.dimensions[operands.weight, 3]
    layers = operands.is_type("FULLY_CONNECTED") & operands.has_weight
    return np.asarray(layers & (operands.dimensions[operands.data, 3] != weights))


def _uneven(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return concatenations with a part that does not begin with a brick, and what is written there."""
    joined = operands.is_type("CONCATENATION")
    made = np.zeros(operands.absent + 1, dtype=np.bool_)
    if not joined.any():
        return made
    table = subgraph.columns.operator_inputs
    depth, whole = operands.dimensions[table.values, 3], operands.dimensions[operands.result, 3]
    before = np.cumsum(depth) - depth
    before -= np.append(before, 0.0)[table.offsets[:-1]][table.row_indices]
    parts = (before % BRICK > 0) & (depth != whole[table.row_indices])
    uneven = joined & (np.bincount(table.row_indices, parts, len(joined)) > 0)
    made[operands.result[uneven]] = True
    # What others read, too, is copied.
    alone = uneven[table.row_indices] & (operands.readers[table.values] == 1)
    made[table.values[alone]] = True
    return made
