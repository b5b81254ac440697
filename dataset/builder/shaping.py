"""Operators that pool, move or resize data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dataset.builder.core import ACTIVATIONS, PADDINGS, Activation, Core, Padding, Pair, image, pair, window
from dataset.builder.serialize import Tensor
from perfsage.errors import InvalidInputError


class ShapingMixin(Core):
    """Adds pools, reductions, data movement and products of tensors to a builder."""

    def max_pool(
        self, x: Tensor, *, kernel: Pair = 2, stride: Pair = 2, padding: Padding = "valid"
    ) -> Tensor:
        """Add MAX_POOL_2D."""
        return self._pool("MAX_POOL_2D", x, pair(kernel), pair(stride), padding, "none")

    def average_pool(
        self,
        x: Tensor,
        *,
        kernel: Pair = 2,
        stride: Pair = 2,
        padding: Padding = "valid",
        activation: Activation = "none",
    ) -> Tensor:
        """Add AVERAGE_POOL_2D."""
        return self._pool("AVERAGE_POOL_2D", x, pair(kernel), pair(stride), padding, activation)

    def _pool(
        self,
        operator: str,
        x: Tensor,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: Padding,
        activation: Activation,
    ) -> Tensor:
        batch, height, width, channels = image(x, operator)
        (kh, kw), (sh, sw) = kernel, stride
        size = (window(height, kh, sh, 1, padding), window(width, kw, sw, 1, padding))
        return self._record(
            operator, (x,), self._like("pool", x, (batch, *size, channels)), "Pool2DOptions", versions=(2, 1),
            Padding=PADDINGS[padding], StrideW=sw, StrideH=sh, FilterWidth=kw, FilterHeight=kh,
            FusedActivationFunction=ACTIVATIONS[activation],
        )  # fmt: skip

    def mean(self, x: Tensor, *, axes: Sequence[int] = (1, 2), keep_dims: bool = False) -> Tensor:
        """Add MEAN over `axes`."""
        rank = len(x.shape)
        over = {axis % rank for axis in axes}
        shape = tuple(1 if axis in over else size for axis, size in enumerate(x.shape))
        if not keep_dims:
            shape = tuple(size for axis, size in enumerate(x.shape) if axis not in over)
        out = self._like("mean", x, shape)
        indices = self._vector(*sorted(over))
        return self._record("MEAN", (x, indices), out, "ReducerOptions", versions=(2, 1), KeepDims=keep_dims)

    def concat(self, parts: Sequence[Tensor], *, axis: int = -1, activation: Activation = "none") -> Tensor:
        """Add CONCATENATION; all int8 parts get the scale of the first, since LiteRT demands equal ones."""
        first = parts[0]
        parts = [self._unify(part, first) for part in parts]
        axis %= len(first.shape)
        shape = list(first.shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        out = self._like("concat", first, tuple(shape))
        return self._record(
            "CONCATENATION", parts, out, "ConcatenationOptions", versions=(2, 1), Axis=axis,
            FusedActivationFunction=ACTIVATIONS[activation],
        )  # fmt: skip

    def pad(self, x: Tensor, paddings: Sequence[tuple[int, int]]) -> Tensor:
        """Add PAD with (before, after) for each axis."""
        shape = tuple(size + before + after for size, (before, after) in zip(x.shape, paddings, strict=True))
        flat = (amount for both in paddings for amount in both)
        amounts = self._vector(*flat, shape=(len(paddings), 2))
        return self._record("PAD", (x, amounts), self._like("pad", x, shape), "PadOptions", versions=(2, 1))

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Add RESHAPE to a shape of as many elements."""
        if math.prod(shape) != math.prod(x.shape):
            raise InvalidInputError(f"{x.shape} cannot become {tuple(shape)}", where=x.name)
        out = self._like("reshape", x, tuple(shape))
        return self._record("RESHAPE", (x, self._vector(*shape)), out, "ReshapeOptions")

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        """Add TRANSPOSE."""
        out = self._like("transpose", x, tuple(x.shape[axis] for axis in order))
        return self._record("TRANSPOSE", (x, self._vector(*order)), out, "TransposeOptions", versions=(2, 1))

    def split(self, x: Tensor, parts: int, *, axis: int = -1) -> list[Tensor]:
        """Add SPLIT into equal parts."""
        axis %= len(x.shape)
        if x.shape[axis] % parts:
            raise InvalidInputError(f"{x.shape[axis]} elements do not split into {parts} parts", where=x.name)
        shape = tuple(size // parts if at == axis else size for at, size in enumerate(x.shape))
        outs = [self._like("split", x, shape) for _ in range(parts)]
        self._record(
            "SPLIT", (self._vector(axis, shape=()), x), outs[0], "SplitOptions", versions=(2, 1),
            more_outputs=outs[1:], NumSplits=parts,
        )  # fmt: skip
        return outs

    def strided_slice(
        self, x: Tensor, begin: Sequence[int], end: Sequence[int], strides: Sequence[int] | None = None
    ) -> Tensor:
        """Add STRIDED_SLICE with a begin, an end (excluded) and a positive stride for each axis."""
        steps = tuple(strides) if strides is not None else (1,) * len(x.shape)
        shape = tuple(-(-(stop - start) // step) for start, stop, step in zip(begin, end, steps, strict=True))
        inputs = (x, self._vector(*begin), self._vector(*end), self._vector(*steps))
        out = self._like("slice", x, shape)
        return self._record(
            "STRIDED_SLICE", inputs, out, "StridedSliceOptions", versions=(2, 1),
            BeginMask=0, EndMask=0, EllipsisMask=0, NewAxisMask=0, ShrinkAxisMask=0,
        )  # fmt: skip

    def resize_bilinear(self, x: Tensor, size: Pair, *, half_pixel: bool = True) -> Tensor:
        """Add RESIZE_BILINEAR to (height, width)."""
        return self._resize("RESIZE_BILINEAR", "ResizeBilinearOptions", x, pair(size), half_pixel)

    def resize_nearest(self, x: Tensor, size: Pair, *, half_pixel: bool = True) -> Tensor:
        """Add RESIZE_NEAREST_NEIGHBOR to (height, width)."""
        return self._resize(
            "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", x, pair(size), half_pixel
        )

    def _resize(
        self, operator: str, table: str, x: Tensor, size: tuple[int, int], half_pixel: bool
    ) -> Tensor:
        batch, _, _, channels = image(x, operator)
        out = self._like("resize", x, (batch, *size, channels))
        versions = (3, 3) if half_pixel else (2, 1)
        return self._record(
            operator, (x, self._vector(*size)), out, table, versions=versions,
            AlignCorners=False, HalfPixelCenters=half_pixel,
        )  # fmt: skip

    def depth_to_space(self, x: Tensor, block: int) -> Tensor:
        """Add DEPTH_TO_SPACE (pixel shuffle)."""
        batch, height, width, channels = image(x, "depth_to_space")
        if channels % (block * block):
            raise InvalidInputError(f"{channels} channels are no multiple of {block}²", where=x.name)
        shape = (batch, height * block, width * block, channels // (block * block))
        out = self._like("depth_to_space", x, shape)
        return self._record("DEPTH_TO_SPACE", (x,), out, "DepthToSpaceOptions", BlockSize=block)

    def space_to_depth(self, x: Tensor, block: int) -> Tensor:
        """Add SPACE_TO_DEPTH."""
        batch, height, width, channels = image(x, "space_to_depth")
        if height % block or width % block:
            raise InvalidInputError(f"{height} x {width} does not divide by {block}", where=x.name)
        shape = (batch, height // block, width // block, channels * block * block)
        out = self._like("space_to_depth", x, shape)
        return self._record(
            "SPACE_TO_DEPTH", (x,), out, "SpaceToDepthOptions", versions=(2, 1), BlockSize=block
        )

    def batch_matmul(self, a: Tensor, b: Tensor, *, transpose_b: bool = False) -> Tensor:
        """Add BATCH_MATMUL of [..., n, k] by [..., k, m], or by [..., m, k] when `transpose_b`."""
        columns, depth = b.shape[-2:] if transpose_b else (b.shape[-1], b.shape[-2])
        if a.shape[-1] != depth:
            raise InvalidInputError(f"the shapes {a.shape} and {b.shape} do not multiply")
        out = self._activation("matmul", (*a.shape[:-1], columns))
        return self._record(
            "BATCH_MATMUL", (a, b), out, "BatchMatMulOptions", versions=(2, 1), AdjX=False, AdjY=transpose_b
        )
