"""Steps that make a draft of what an NPU is given to do: rows, groups, strides and dilations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.axes import mean_over_channels
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.formats import (
    ALIASES,
    COPIES,
    JOINTS,
    MOST_DILATION,
    PARTS,
    REDUCTIONS,
    multiples,
    squarest,
)
from perfsage.features.npu.fusing import MOST_STRIDE
from perfsage.features.npu.resizing import BILINEAR, NEAREST
from perfsage.features.npu.work import (
    BY_KERNEL,
    BY_OUTPUT,
    CONVOLUTION,
    DEPTHWISE,
    ELEMENTWISE,
    MOST_MEAN_HEIGHT,
    MOST_MEAN_KERNEL,
    NOTHING,
    POOLING,
    PRODUCT,
    SOFTMAX,
    SQUARES,
    TRANSPOSED,
    Float64,
)
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph
from perfsage.graph.columns import Columns

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


def draft_of(columns: Columns, operands: Operands, shapes: Float64) -> Draft:
    """Return what the shapes float64[n, 11] and attributes of operators say, before anything is lowered."""
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


def lay_out_rows(draft: Draft, operands: Operands, shapes: Float64) -> None:
    """Make rows of a fully connected layer an image that is as square as it can be."""
    layers = operands.is_type("FULLY_CONNECTED")
    draft.into[layers, 2] = shapes[layers, 9]
    for row in np.flatnonzero(layers & (draft.out[:, 1] > 1)):
        rows = int(draft.batch[row] * draft.out[row, 0] * draft.out[row, 1])
        height = squarest(rows)
        draft.batch[row] = 1.0
        draft.out[row, :2] = draft.into[row, :2] = (height, rows // height)


def stack_softmaxes(draft: Draft, operands: Operands) -> None:
    """Images of a softmax are on top of each other."""
    softmax = operands.is_type("SOFTMAX")
    for sizes in (draft.out, draft.into):
        sizes[softmax, 0] *= draft.batch[softmax]
    draft.batch[softmax] = 1.0


def widen_means(draft: Draft, subgraph: Subgraph, operands: Operands) -> None:
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


def enlarge(draft: Draft, operands: Operands, shapes: Float64) -> Float64:
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


def fill_dilations(draft: Draft, spans: Float64) -> None:
    """Wide dilations become larger kernels that are mostly zeros; even ones are halved by the hardware."""
    wide = draft.dilation.max(axis=1) > MOST_DILATION
    step = np.where(draft.dilation % 2 == 0, 2, 1)
    draft.kernel[wide] = ((spans - 1) / step + 1)[wide]


def split_groups(draft: Draft, operands: Operands, shapes: Float64) -> Float64:
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


def split_far_strides(draft: Draft, spans: Float64, pieces: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how a stride that is too far is split, int64[n]: into a convolution for each output (`pieces`).

    With padding it is one for each of the kernel's elements, which only U85 does.
    """
    far = (draft.kind == CONVOLUTION) & (draft.stride.max(axis=1) > MOST_STRIDE)
    split = far & pieces
    draft.batch[split] *= draft.out[split, 0] * draft.out[split, 1]
    draft.out[split, :2] = 1.0
    draft.into[split, :2] = spans[split]
    return np.where(split, BY_OUTPUT, np.where(far, BY_KERNEL, 0))
