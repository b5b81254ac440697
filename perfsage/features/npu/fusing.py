"""Which functions an NPU does while what they read is on its way out, and which it does on their own.

A function of few channels gets another shape (`depths`), and what looks at more than one element at a time
cannot write that: Vela 5 then makes an operator of the function (`CanPack`), even of an activation that the
file has as an option of a convolution. The same becomes of what follows a convolution in pieces or groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.depths import deepened, parts, shallow
from perfsage.features.npu.formats import FUNCTIONS, in_groups, makers
from perfsage.features.operands import Operands, remembered
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
MOST_STRIDE = 3
"""What is beyond becomes a convolution for each output where nothing is padded."""
_PADS = ("PAD", "PADV2", "MIRROR_PAD")
_POOLINGS = ("AVERAGE_POOL_2D", "MAX_POOL_2D")


@remembered
def fused(subgraph: Subgraph, operands: Operands, refused: Flags) -> tuple[Flags, NDArray[np.int64]]:
    """Return which operators are done while their producer writes, and each one's producer (its row).

    These are functions that alone read what an operator makes.
    """
    maker = makers(subgraph, operands, refused | operands.is_type(*FUNCTIONS))[operands.data]
    within = operands.is_type(*FUNCTIONS) & (operands.readers[operands.data] == 1) & (maker >= 0) & ~refused
    if within.any():
        own = deepened(subgraph, operands, np.arange(len(within)))
        bound = own & _bound_to_shape(subgraph, operands)[maker]
        within &= ~(bound | made_of_several(subgraph, operands)[maker])
        # One function is done on the way out, and an activation is one.
        within &= subgraph.columns.attribute("fused_activation_function")[maker] == 0
    return np.asarray(within), maker


@remembered
def own_activation(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which operators have an activation that becomes an operator of its own, bool[n]."""
    bound = shallow(operands) & _bound_to_shape(subgraph, operands)
    bound &= ~parts(subgraph, operands)[1, operands.result]
    active = subgraph.columns.attribute("fused_activation_function") > 0
    return np.asarray(active & (bound | made_of_several(subgraph, operands)))


def made_of_several(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return whose results several write: groups, pieces, or the image and its padding, bool[n]."""
    made = in_groups(subgraph, operands) | far_apart(subgraph, operands)
    before, after = operands.dimensions[operands.data], operands.dimensions[operands.result]
    return np.asarray(made | (operands.is_type(*_PADS) & (before != after).any(axis=1)))


@remembered
def far_apart(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which operators become several convolutions, since outputs are too far apart, bool[n]."""
    stride = np.maximum(*(subgraph.columns.attribute(f"stride_{axis}") for axis in "hw"))
    return np.asarray(operands.is_type("CONV_2D") & operands.has_weight & (stride > MOST_STRIDE))


@remembered
def in_pieces(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which operators become a convolution for each output, bool[n]."""
    far = far_apart(subgraph, operands)
    if not far.any():
        return far
    attribute, sides = subgraph.columns.attribute, slice(1, 3)
    stride = np.stack([attribute("stride_h"), attribute("stride_w")], axis=1)
    dilation = np.stack([attribute(f"dilation_{axis}_factor") for axis in "hw"], axis=1)
    dimensions = operands.dimensions
    spans = (dimensions[operands.weight][:, sides] - 1.0) * np.maximum(dilation, 1) + 1.0
    reach = (dimensions[operands.result][:, sides] - 1.0) * stride + spans
    return np.asarray(far & (reach <= dimensions[operands.data][:, sides]).all(axis=1))


def _bound_to_shape(subgraph: Subgraph, operands: Operands) -> Flags:
    """Return which operators cannot write what gets another shape: they look at more than one element."""
    attribute = subgraph.columns.attribute
    names = ("filter_height", "filter_width", "stride_h", "stride_w")
    windows = np.logical_or.reduce([attribute(name) > 1 for name in names])
    return np.asarray(operands.is_type(*_CONVOLUTIONS) | (operands.is_type(*_POOLINGS) & windows))
