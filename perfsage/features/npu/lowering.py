"""From TFLite operators to an NPU's: what Ethos-U compilers make of each, as far as it decides the cycles.

Far strides, wide dilations and groups become other convolutions; means and resizing become depthwise ones;
rows of a fully connected layer are laid out as an image.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.broadcasts import constant_elements, doubled
from perfsage.features.npu.copies import copy_parts, merge_outer_axes, spread_reductions
from perfsage.features.npu.draft import Draft
from perfsage.features.npu.drafting import (
    draft_of,
    enlarge,
    fill_dilations,
    lay_out_rows,
    split_far_strides,
    split_groups,
    stack_softmaxes,
    widen_means,
)
from perfsage.features.npu.ends import Ends, ends_of
from perfsage.features.npu.formats import (
    ALIASES,
    ARITHMETIC,
    JOINTS,
    LINEAR,
    PARTS,
    in_phases,
)
from perfsage.features.npu.fusing import in_pieces
from perfsage.features.npu.geometry import OUTPUT_KINDS
from perfsage.features.npu.padding import PADS, drop_padding, filled_elements
from perfsage.features.npu.resizing import BILINEAR, NEAREST, lower_resizing
from perfsage.features.npu.spills import Spills
from perfsage.features.npu.turns import turns
from perfsage.features.npu.wholes import second_share
from perfsage.features.npu.work import (
    CONVOLUTION,
    CROSSING_BITS,
    ELEMENTWISE,
    INTEGER_BYTES,
    SPARSE_DEPTH,
    STRIPES,
    Float64,
    Work,
)
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

FULL_RANK = 4
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
    draft = draft_of(columns, operands, shapes)
    merge_outer_axes(draft, operands)
    lay_out_rows(draft, operands, shapes)
    stack_softmaxes(draft, operands)
    widen_means(draft, subgraph, operands)
    phases = in_phases(subgraph, operands)
    passes = lower_resizing(draft, operands, phases)
    enlarged = enlarge(draft, operands, shapes)
    spans = (draft.kernel - 1) * draft.dilation + 1
    # Half a pixel more is needed of what is doubled.
    spans[operands.is_type(NEAREST) & (enlarged > 1)] = 2.0
    fill_dilations(draft, spans)
    groups = split_groups(draft, operands, shapes)
    far = split_far_strides(draft, spans, in_pieces(subgraph, operands))
    share = copy_parts(draft, subgraph, operands, refused)
    spread_reductions(draft, operands)
    drop_padding(draft, subgraph, operands, np.asarray(refused.any(axis=1)))
    filled = filled_elements(draft, subgraph, operands, refused)
    ends = _ends(draft, subgraph, operands, refused, spills, filled > 0)
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


def _ends(
    draft: Draft,
    subgraph: Subgraph,
    operands: Operands,
    refused: NDArray[np.bool_],
    spills: Spills,
    filled: NDArray[np.bool_],
) -> Ends:
    """Return the ends, some of which follow from what an operator became; `filled` bool[n] copy constants."""
    ends = ends_of(draft, subgraph, operands, refused, spills.beyond)
    # The integers of a mean over channels stay inside, as rows.
    ends.target[operands.is_type("MEAN") & (draft.out[:, 2] == 1)] = LINEAR
    phases = in_phases(subgraph, operands)
    ends.source[phases | filled] = LINEAR
    ends.source_u85[filled] = LINEAR
    ends.source_spill[phases] &= ~CROSSING_BITS[0]
    return ends


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


def _output_kinds(operands: Operands) -> NDArray[np.int64]:
    made = np.full(len(operands.type), OUTPUT_KINDS.index("other"), dtype=np.int64)
    for name, types in _OUTPUTS.items():
        made[operands.is_type(*types)] = OUTPUT_KINDS.index(name)
    return made
