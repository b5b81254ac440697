"""Operators that compare, stack and reduce tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tflite

from dataset.builder.core import Core
from dataset.builder.serialize import Tensor


class ReducingMixin(Core):
    """Adds comparisons, stacks and reductions to a builder."""

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Add MAXIMUM with broadcasting; both get the scale of the first, since kernels demand equal ones."""
        return self._compared("MAXIMUM", a, b)

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        """Add MINIMUM with broadcasting, like `maximum`."""
        return self._compared("MINIMUM", a, b)

    def arg_max(self, x: Tensor) -> Tensor:
        """Add ARG_MAX over the last axis, which gives int32."""
        out = self._tensor("arg_max", x.shape[:-1], tflite.TensorType.INT32, 0.0, 0)
        axis, kind = self._vector(len(x.shape) - 1, shape=()), tflite.TensorType.INT32
        return self._record("ARG_MAX", (x, axis), out, "ArgMaxOptions", versions=(2, 1), OutputType=kind)

    def reduce_max(self, x: Tensor, *, axes: Sequence[int] = (1, 2)) -> Tensor:
        """Add REDUCE_MAX over `axes`, which stay with a length of 1."""
        over = {axis % len(x.shape) for axis in axes}
        out = self._like("reduce_max", x, tuple(1 if i in over else n for i, n in enumerate(x.shape)))
        indices = self._vector(*sorted(over))
        return self._record("REDUCE_MAX", (x, indices), out, "ReducerOptions", versions=(2, 1), KeepDims=True)

    def pack(self, parts: Sequence[Tensor], *, axis: int = 0) -> Tensor:
        """Add PACK along a new axis; all int8 parts get the scale of the first."""
        parts = [self._unify(part, parts[0]) for part in parts]
        shape = list(parts[0].shape)
        shape.insert(axis, len(parts))
        out = self._like("pack", parts[0], tuple(shape))
        return self._record(
            "PACK", parts, out, "PackOptions", versions=(2, 1), ValuesCount=len(parts), Axis=axis
        )

    def unpack(self, x: Tensor, *, axis: int = 1) -> list[Tensor]:
        """Add UNPACK, which gives one tensor for each place along `axis`."""
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        outs = [self._like("unpack", x, shape) for _ in range(x.shape[axis])]
        self._record(
            "UNPACK", (x,), outs[0], "UnpackOptions", versions=(2, 1), more_outputs=outs[1:],
            Num=len(outs), Axis=axis,
        )  # fmt: skip
        return outs

    def _compared(self, operator: str, a: Tensor, b: Tensor) -> Tensor:
        b = self._unify(b, a)
        out = self._like(operator.lower(), a, np.broadcast_shapes(a.shape, b.shape))
        return self._record(operator, (a, b), out, "MaximumMinimumOptions", versions=(2, 1))
