"""From TFLite operators to an NPU's: what Ethos-U compilers make of each, as far as it decides the cycles.

Far strides, wide dilations and groups become other convolutions; means and resizing become depthwise ones;
rows of a fully connected layer are laid out as an image.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.axes import mean_over_channels
from perfsage.features.npu.broadcasts import constant_elements, doubled
from perfsage.features.npu.copies import (
    BILINEAR,
    NEAREST,
    PADS,
    copy_parts,
    drop_padding,
    filled_elements,
    lower_resizing,
    merge_outer_axes,
    spread_reductions,
)
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.ends import Ends, ends_of
from perfsage.features.npu.formats import (
    ALIASES,
    ARITHMETIC,
    COPIES,
    JOINTS,
    LINEAR,
    MOST_DILATION,
    PARTS,
    REDUCTIONS,
    in_phases,
    multiples,
    squarest,
)
from perfsage.features.npu.fusing import MOST_STRIDE, in_pieces
from perfsage.features.npu.geometry import OUTPUT_KINDS
from perfsage.features.npu.spills import Spills
from perfsage.features.npu.turns import turns
from perfsage.features.npu.wholes import second_share
from perfsage.features.npu.work import (
    BY_KERNEL,
    BY_OUTPUT,
    CONVOLUTION,
    CROSSING_BITS,
    DEPTHWISE,
    ELEMENTWISE,
    INTEGER_BYTES,
    MOST_MEAN_HEIGHT,
    MOST_MEAN_KERNEL,
    NOTHING,
    POOLING,
    PRODUCT,
    SOFTMAX,
    SPARSE_DEPTH,
    SQUARES,
    STRIPES,
    TRANSPOSED,
    Float64,
    Work,
)
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.columns import Columns

FULL_RANK = 4

_KINDS = {
    CONVOLUTION: ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"),
    DEPTHWISE: ("DEPTHWISE_CONV_2D", "MEAN", BILINEAR),
    PRODUCT: ("BATCH_MATMUL",),
    POOLING: ("AVERAGE_POOL_2D", "MAX_POOL_2D", NEAREST, *COPIES, *REDUCTIONS),
    TRANSPOSED: ("TRANSPOSE",),
    SQUARES: ("SQUARED_DIFFERENCE",),
    SOFTMAX: ("SOFTMAX",),
    NOTHING: (*ALIASES, *JOINTS, *PARTS, "SHAPE"),
}
_OUTPUTS = {"mul": ("MUL", "BATCH_MATMUL"), "add": ("ADD", "SUB"), "max_pool": ("MAX_POOL_2D",)}
_BINARY = (*ARITHMETIC, "DIV")


def work_of(
    subgraph: Subgraph,
    operands: Operands,
    shapes: Float64,
    refused: NDArray[np.bool_],
    spills: Spills,
) -> Work:
    """Return an NPU's work for each operator of a subgraph.

    `shapes` are as `Operands.shapes` gives them, `refused` bool[n, 2] as `refusals` does, and `spills`
    as `spilled` does.
    """
    columns = subgraph.columns
    draft = _draft(columns, operands, shapes)
    merge_outer_axes(draft, operands)
    _lay_out_rows(draft, operands, shapes)
    _stack_softmaxes(draft, operands)
    _widen_means(draft, subgraph, operands)
    phases = in_phases(subgraph, operands)
    passes = lower_resizing(draft, operands, phases)
    enlarged = _enlarge(draft, operands, shapes)
    spans = (draft.kernel - 1) * draft.dilation + 1
    # Half a pixel more is needed of what is doubled.
    spans[operands.is_type(NEAREST) & (enlarged > 1)] = 2.0
    _fill_dilations(draft, spans)
    groups = _split_groups(draft, operands, shapes)
    far = _split_far_strides(draft, spans, in_pieces(subgraph, operands))
    share = copy_parts(draft, subgraph, operands, refused)
    spread_reductions(draft, operands)
    drop_padding(draft, subgraph, operands, np.asarray(refused.any(axis=1)))
    ends = ends_of(draft, subgraph, operands, refused, spills.beyond)
    # The integers of a mean over channels stay inside, as rows.
    ends.target[operands.is_type("MEAN") & (draft.out[:, 2] == 1)] = LINEAR
    ends.source[phases] = LINEAR
    ends.source_spill[phases] &= ~CROSSING_BITS[0]
    filled = filled_elements(draft, subgraph, operands, refused)
    for source in (ends.source, ends.source_u85):
        source[filled > 0] = LINEAR
    merged, turned = turns(subgraph, operands, columns.attribute("adj_y").astype(bool), refused)
    return Work(
        kind=draft.kind,
        passes=passes * share * np.where(merged, 2.0, 1.0),
        passes_u85=np.where(operands.is_type(NEAREST, BILINEAR), 1.0, enlarged) ** 2 * share,
        enlarged=enlarged,
        groups=groups,
        far=far,
        batch=draft.batch,
        sparse=(draft.kind == CONVOLUTION) & (draft.into[:, 2] <= SPARSE_DEPTH),
        merged=merged,
        turned=turned,
        constant=constant_elements(operands, draft, ends) + filled,
        flat=_flat(subgraph, operands),
        **_of_sizes(operands, spills),
        **_of_types(draft, operands, shapes),
        **_columns_of(ends),
        **_sides(draft, spans, _second(operands)),
    )


def _of_sizes(operands: Operands, spills: Spills) -> dict[str, Any]:
    """Return the columns of Work that say how much of an operator is worked off, read and written at once."""
    ones = np.ones(len(operands.type))
    sizes = {"larger": ones, "smaller": ones, "smaller_u85": second_share(operands)}
    return sizes | dict(zip(STRIPES, spills.heights.T, strict=True))


def _of_types(draft: Draft, operands: Operands, shapes: Float64) -> dict[str, Any]:
    """Return the columns of Work that follow from an operator's type and its operands alone."""
    from_zeros = operands.is_type(BILINEAR, NEAREST) & (draft.kind == ELEMENTWISE)
    output = _output_kinds(operands)
    output[from_zeros] = OUTPUT_KINDS.index("add")
    return {
        "copied": operands.is_type(*JOINTS, *PARTS, *ALIASES, *PADS),
        "output": output,
        "beside": np.where(from_zeros, draft.out.prod(axis=1), 0.0),
        "binary": operands.is_type(*_BINARY) & (shapes[:, 10] > 1),
        "wide": np.where(operands.is_type("MEAN"), INTEGER_BYTES, 1.0),
        "doubled": doubled(operands),
    }


def _columns_of(ends: Ends) -> dict[str, Any]:
    return {field.name: getattr(ends, field.name) for field in fields(ends)}


def _sides(draft: Draft, spans: Float64, second: Float64) -> dict[str, Any]:
    """Return the columns of sizes, by their name and the axis."""
    sides = {"out": draft.out, "in": draft.into, "kernel": draft.kernel, "stride": draft.stride}
    tables = sides | {"span": spans, "second": second}
    return {
        f"{name}_{axis}": table[:, i]
        for name, table in tables.items()
        for i, axis in enumerate("hwc"[: table.shape[1]])
    }


def _flat(subgraph: Subgraph, operands: Operands) -> NDArray[np.bool_]:
    rank = np.append(np.diff(subgraph.columns.tensor_shape.offsets), FULL_RANK)
    return np.asarray(operands.is_type("SQUARED_DIFFERENCE") & (rank[operands.result] < FULL_RANK))


def _second(operands: Operands) -> Float64:
    """Return height, width and channels of the other operand of what is broken up, float64[n, 3]."""
    broken = operands.is_type("SQUARED_DIFFERENCE", "BATCH_MATMUL")
    return np.where(broken[:, None], operands.dimensions[operands.second][:, 1:], 0.0)


def _draft(columns: Columns, operands: Operands, shapes: Float64) -> Draft:
    kind = np.full(len(operands.type), ELEMENTWISE, dtype=np.int64)
    for value, names in _KINDS.items():
        kind[operands.is_type(*names)] = value
    # A depthwise convolution of one channel is an ordinary one.
    kind[(kind == DEPTHWISE) & (shapes[:, 6] == 1) & (shapes[:, 3] > 1)] = CONVOLUTION
    dilation = [columns.attribute(f"dilation_{axis}_factor") for axis in "hw"]
    # And one of groups of a channel each, in and out, is a depthwise one, where no zeros fill its kernel.
    single = (shapes[:, 9] == 1) & (shapes[:, 6] > 1) & (shapes[:, 3] == shapes[:, 6])
    single &= np.maximum(*dilation) <= MOST_DILATION
    kind[operands.is_type("CONV_2D") & operands.has_weight & single] = DEPTHWISE
    kernel = shapes[:, 7:9].copy()
    windowed = (kind == CONVOLUTION) | (kind == DEPTHWISE) | (kind == POOLING)
    kernel[~windowed | operands.is_type(BILINEAR, NEAREST, *COPIES)] = 1.0
    stride = [columns.attribute(f"stride_{axis}") for axis in "hw"]
    return Draft(
        kind,
        shapes[:, 0].copy(),
        shapes[:, 1:4].copy(),
        shapes[:, 4:7].copy(),
        kernel,
        np.maximum(np.stack(stride, axis=1), 1).astype(np.float64),
        np.maximum(np.stack(dilation, axis=1), 1).astype(np.float64),
    )


def _output_kinds(operands: Operands) -> NDArray[np.int64]:
    made = np.full(len(operands.type), OUTPUT_KINDS.index("other"), dtype=np.int64)
    for name, types in _OUTPUTS.items():
        made[operands.is_type(*types)] = OUTPUT_KINDS.index(name)
    return made


def _lay_out_rows(draft: Draft, operands: Operands, shapes: Float64) -> None:
    """Make rows of a fully connected layer an image that is as square as it can be."""
    layers = operands.is_type("FULLY_CONNECTED")
    draft.into[layers, 2] = shapes[layers, 9]
    for row in np.flatnonzero(layers & (draft.out[:, 1] > 1)):
        rows = int(draft.batch[row] * draft.out[row, 0] * draft.out[row, 1])
        height = squarest(rows)
        draft.batch[row] = 1.0
        draft.out[row, :2] = draft.into[row, :2] = (height, rows // height)


def _stack_softmaxes(draft: Draft, operands: Operands) -> None:
    """Images of a softmax are on top of each other."""
    softmax = operands.is_type("SOFTMAX")
    for sizes in (draft.out, draft.into):
        sizes[softmax, 0] *= draft.batch[softmax]
    draft.batch[softmax] = 1.0


def _widen_means(draft: Draft, subgraph: Subgraph, operands: Operands) -> None:
    """A mean is a depthwise convolution with a kernel as large as what it takes the mean over."""
    mean = operands.is_type("MEAN")
    over_channels = mean_over_channels(subgraph.columns, operands)
    over_area = mean & (draft.out[:, 2] == draft.into[:, 2]) & ~over_channels
    draft.kernel[over_area] = draft.into[over_area, :2] / np.maximum(draft.out[over_area, :2], 1.0)
    flat = (
        over_area & (draft.kernel[:, 0] > MOST_MEAN_HEIGHT) & (draft.kernel.prod(axis=1) <= MOST_MEAN_KERNEL)
    )
    flat &= (draft.out[:, :2] == 1).all(axis=1)
    for sizes in (draft.kernel, draft.into):
        sizes[flat, 1], sizes[flat, 0] = sizes[flat, :2].prod(axis=1), 1.0
    # Channels become the width of one, below each other.
    count, depth = draft.into[over_channels, :2].prod(axis=1), draft.into[over_channels, 2]
    one = np.ones(len(count))
    draft.out[over_channels] = np.stack([count, one, one], axis=1)
    draft.into[over_channels] = np.stack([count, depth, one], axis=1)
    draft.kernel[over_channels] = np.stack([one, depth], axis=1)


def _enlarge(draft: Draft, operands: Operands, shapes: Float64) -> Float64:
    """Make a transposed convolution one over zeros and inputs; return how far inputs are apart."""
    factor = draft.stride.max(axis=1)
    enlarged = operands.is_type("TRANSPOSE_CONV")
    draft.into[enlarged, :2] = draft.out[enlarged, :2]
    draft.into[enlarged, 2] = shapes[enlarged, 9]
    draft.stride[enlarged] = 1.0
    # Doubled images are read as if their pixels were there several times.
    times = draft.out[:, :2] / np.maximum(draft.into[:, :2], 1.0)
    doubled = operands.is_type(NEAREST, BILINEAR) & (draft.kind == POOLING)
    doubled &= (times == 2.0).all(axis=1)
    draft.into[doubled, :2] = draft.out[doubled, :2]
    return np.where(enlarged | doubled, np.where(doubled, 2.0, factor), 1.0)


def _fill_dilations(draft: Draft, spans: Float64) -> None:
    """Wide dilations become larger kernels that are mostly zeros; even ones are halved by the hardware."""
    wide = draft.dilation.max(axis=1) > MOST_DILATION
    step = np.where(draft.dilation % 2 == 0, 2, 1)
    draft.kernel[wide] = ((spans - 1) / step + 1)[wide]


def _split_groups(draft: Draft, operands: Operands, shapes: Float64) -> Float64:
    """A grouped convolution becomes one for each group; return how many."""
    ratio = np.maximum(np.floor(draft.into[:, 2] / shapes[:, 9]), 1.0)
    groups = np.where(operands.is_type("CONV_2D") & (draft.kind == CONVOLUTION), ratio, 1.0)
    draft.batch *= groups
    draft.out[:, 2] = np.ceil(draft.out[:, 2] / groups)
    draft.into[:, 2] /= groups
    # So does a depthwise one for each channel that it gives for one of its own.
    several = multiples(operands)
    draft.batch *= several
    draft.out[:, 2] /= several
    return groups * several


def _split_far_strides(draft: Draft, spans: Float64, pieces: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how a stride that is too far is split, int64[n]: into a convolution for each output (`pieces`).

    With padding it is one for each of the kernel's elements, which only U85 does.
    """
    far = (draft.kind == CONVOLUTION) & (draft.stride.max(axis=1) > MOST_STRIDE)
    split = far & pieces
    draft.batch[split] *= draft.out[split, 0] * draft.out[split, 1]
    draft.out[split, :2] = 1.0
    draft.into[split, :2] = spans[split]
    return np.where(split, BY_OUTPUT, np.where(far, BY_KERNEL, 0))
