"""Second operands of products of two tensors: they are needed with their last two axes exchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.features.npu.formats import BRICKS, EDGE, LINEAR, makers
from perfsage.features.npu.work import POOLING, TRANSPOSED, Work
from perfsage.features.operands import Operands
from perfsage.graph import Subgraph

Flags = NDArray[np.bool_]
ENTERING = 2
"""What `turned` says of an operand that enters the graph."""


def turns(
    subgraph: Subgraph, operands: Operands, adjoint: Flags, refused: Flags
) -> tuple[Flags, NDArray[np.int64]]:
    """Return which transposes also do that, bool[n], and `Work.turned`: products that do it themselves.

    `adjoint` bool[n] says that the file has the operand like this already, `refused` bool[n, 2] as in
    `refusals`. A transpose does it that nobody else reads; U55 and U65 transpose twice then. What computes
    the operand for nobody else writes it like this on U85.
    """
    none = np.zeros(len(operands.type), dtype=np.bool_)
    products = operands.is_type("BATCH_MATMUL") & ~refused.any(axis=1)
    if not products.any():
        return none, none.astype(np.int64)
    transposes = operands.is_type("TRANSPOSE") & (operands.readers[operands.result] == 1)
    needed = np.zeros(operands.absent + 1, dtype=np.bool_)
    needed[operands.second[products & ~adjoint]] = True
    needed[-1] = False
    merged = transposes & needed[operands.result]
    computed = makers(subgraph, operands, np.asarray(refused[:, 1])) >= 0
    done = computed[operands.second] & (operands.readers[operands.second] == 1)
    enters = np.isin(operands.second, [*subgraph.inputs])
    turned = products & ~adjoint & ~done
    return np.asarray(merged), turned * np.where(enters, ENTERING, 1)


def turning(work: Work) -> Work:
    """Return transposes of the second operands of products."""
    columns: dict[str, Any] = {
        f"{end}_{axis}": getattr(work, f"second_{source}")
        for end, order in (("in", "hwc"), ("out", "hcw"))
        for axis, source in zip("hwc", order, strict=True)
    }
    columns["kind"] = np.full_like(work.kind, TRANSPOSED)
    columns["source_u85"] = np.where(work.turned > 1, EDGE, LINEAR)
    columns["target_u85"] = np.full_like(work.target, BRICKS)
    columns |= {name: np.zeros_like(work.source_spill) for name in ("source_spill", "target_spill")}
    columns["kind_u85"] = np.full_like(work.kind_u85, POOLING)
    return replace(work, **columns, passes_u85=np.ones(len(work)))
