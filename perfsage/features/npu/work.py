"""What an NPU is given to do for each operator: shapes, kernels and the unit that works on it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Flags = NDArray[np.bool_]

SPILL_BYTES = (256 << 10, 384 << 10, 512 << 10)
"""What the larger U85 have of SRAM for activations by default; the rest lies in DRAM."""
CROSSING_BITS = (1 << len(SPILL_BYTES), 2 << len(SPILL_BYTES))
"""Beside a bit for each limit of SPILL_BYTES: what lies in DRAM because the CPU works in the meantime, while
it does what U55 and U65, or what U85 cannot do. SRAM is not kept then."""
SPARSE_DEPTH = 2
"""So few channels are sparse always, as two more of the four are filled up."""
SUBKERNEL = 8
"""Kernels are worked off in parts of at most 8 by 8."""
MOST_MEAN_HEIGHT, MOST_MEAN_KERNEL = 64, 4096
"""Kernels of means are no higher and no larger: higher ones are laid out as a row, larger ones cut."""
STRIPES = ("stripe_small", "stripe_middle", "stripe_large")
BY_OUTPUT, BY_KERNEL = 1, 2
"""How a stride beyond what the hardware can do is split."""
NOTHING, CONVOLUTION, DEPTHWISE, PRODUCT, POOLING, ELEMENTWISE, TRANSPOSED, SOFTMAX, SQUARES = range(9)
INTEGER_BYTES = 4
"""Bytes of what most operators that are broken up compute with."""

_ONES = (
    *("passes", "enlarged", "groups", "batch", "wide", "larger", "smaller"),
    *("out_", "in_", "kernel_", "stride_", "span_"),
)
"""Columns that begin like this are 1 where there is nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Columns over n operators, float64[n] unless named otherwise.

    `kind` int64[n] is one of the constants above and `kind_u85` the same for U85; `passes` and `passes_u85`
    say how often it is done, and `enlarged` by how much zeros in between enlarge the inputs. `copied` bool[n]
    only goes from one place to another. `output` is a position in OUTPUT_KINDS, `source` and `target` are
    formats as in `formats`, and the same for U85.
    `table` and `clamped` bool[n] say what outputs go through; `binary` bool[n] that two tensors come in, and
    `beside` how many elements come from where constants are, `chained` how many operators U85 does on the
    way out. `source_spill` and `target_spill` int64[n] have a bit for each limit of SPILL_BYTES at which the
    data lies in DRAM, and CROSSING_BITS. `far` int64[n] says how a stride is split, 0 where it is not, and
    `groups` how many convolutions one is.
    """

    kind: NDArray[np.int64]
    kind_u85: NDArray[np.int64]
    passes: Float64
    passes_u85: Float64
    enlarged: Float64
    copied: Flags
    output: NDArray[np.int64]
    table: Flags
    clamped: Flags
    binary: Flags
    far: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    source_u85: NDArray[np.int64]
    target_u85: NDArray[np.int64]
    beside_source: NDArray[np.int64]
    """The format of the second of two tensors."""
    beside_source_u85: NDArray[np.int64]
    source_spill: NDArray[np.int64]
    target_spill: NDArray[np.int64]
    chained: Float64
    chained_far: Float64
    """Elements from DRAM that those read which U85 does on the way out."""
    chained_spill: NDArray[np.int64]
    """At which limits one of them reads more from there, as `source_spill`."""
    silent: Flags
    """Whether the last of those reads something of its own: what it writes is not counted then."""
    beside: Float64
    groups: Float64
    batch: Float64
    out_h: Float64
    out_w: Float64
    out_c: Float64
    in_h: Float64
    in_w: Float64
    in_c: Float64
    kernel_h: Float64
    kernel_w: Float64
    stride_h: Float64
    stride_w: Float64
    wide: Float64
    """Bytes of an element of the result: a mean is an integer of 32 bits at first."""
    flat: Flags
    """Whether a squared difference has fewer than four dimensions."""
    sparse: Flags
    """Whether two of every four weights are zeros, which U85 skips (`sparse`)."""
    merged: Flags
    """Whether a transpose also turns the last two axes, for a product of two tensors that reads it."""
    turned: NDArray[np.int64]
    """Whether a product of two has to turn its second operand first: 2 where that enters the graph."""
    constant: Float64
    """Elements that arithmetic reads from where constants are, on U55 and U65, and fills everywhere."""
    doubled: Flags
    """Whether both operands are broadcast, which U55 and U65 do one after the other."""
    second_h: Float64
    second_w: Float64
    second_c: Float64
    """The other operand of what is lowered to several operators, and 0 elsewhere."""
    span_h: Float64
    span_w: Float64
    """Kernels with their dilation: (k - 1) d + 1."""
    stripe_small: Float64
    stripe_middle: Float64
    stripe_large: Float64
    """Heights of stripes at each limit of SPILL_BYTES, 0 where an operator is not worked off in stripes."""
    larger: Float64
    larger_u85: Float64
    """How many times as much as is computed counts as written."""
    smaller: Float64
    smaller_u85: Float64
    """How much of as many elements as come out of arithmetic is read of its second operand."""

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: NDArray[np.integer]) -> Work:
        """Return some of the operators."""
        return Work(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def plain(self, count: int) -> dict[str, NDArray[Any]]:
        """Return columns for `count` operators that do nothing special: sides and counts are 1, else 0."""
        names = [field.name for field in fields(self)]
        made = {name: np.zeros(count, dtype=getattr(self, name).dtype) for name in names}
        return made | {name: np.ones(count) for name in names if name.startswith(_ONES)}

    def those(self, rows: NDArray[np.integer]) -> Work:
        """Return some of the operators, for ascending `rows`: all of them as they are."""
        return self if len(rows) == len(self) else self.take(rows)

    def row_keys(self) -> list[bytes]:
        """Return bytes that are equal for operators that take equally long, whatever their batch."""
        names = [field.name for field in fields(self) if field.name not in ("batch", "groups")]
        columns = [getattr(self, name) for name in names]
        table = np.stack(columns, axis=1, dtype=np.float32, casting="unsafe")
        raw, size = table.tobytes(), 4 * len(names)
        return [raw[at : at + size] for at in range(0, len(raw), size)]

    def stripe(self, limit: int) -> Work:
        """Return one stripe of each where `limit` of SPILL_BYTES, counted from 1, holds so much."""
        if limit > len(STRIPES) or not (height := getattr(self, STRIPES[limit - 1])).any():
            return self
        needed = np.minimum((height - 1.0) * self.stride_h + self.span_h, self.in_h)
        striped = height > 0
        return replace(
            self,
            out_h=np.where(striped, np.minimum(height, self.out_h), self.out_h),
            in_h=np.where(striped, needed, self.in_h),
        )

    def for_u85(self) -> Work:
        """Return the same work as U85 does it.

        A kernel comes in parts, one for each place between the zeros, or one for each of its elements where
        the stride is too far.
        """
        parts = {
            name: np.maximum(getattr(self, name) / self.enlarged, 1.0)
            for name in ("kernel_h", "kernel_w", "span_h", "span_w", "in_h", "in_w")
        }
        # What doubles images has a unit of its own.
        doubled = (self.kind == POOLING) & (self.enlarged > 1)
        if doubled.any():
            for axis in "hw":
                for name in (f"kernel_{axis}", f"span_{axis}"):
                    parts[name] = np.where(doubled, getattr(self, f"kernel_{axis}"), parts[name])
        elements = np.where(self.far == BY_KERNEL, parts["kernel_h"] * parts["kernel_w"], 1.0)
        apart = self.far == BY_KERNEL
        for name in ("kernel_h", "kernel_w", "span_h", "span_w", "stride_h", "stride_w"):
            parts[name] = np.where(apart, 1.0, parts.get(name, getattr(self, name)))
        # Its unit for resizing sees the image as it is, and all of the result.
        resized = 1.0 * ((self.kind == DEPTHWISE) & (self.kind_u85 == ELEMENTWISE))
        for axis in "hw":
            parts[f"in_{axis}"] = parts[f"in_{axis}"] - resized
        # A product of two tensors is one for each of a batch, which lies over the rows.
        rows = np.where(self.kind_u85 == PRODUCT, self.out_h, 1.0)
        parts["in_h"] /= rows
        return replace(
            self,
            kind=self.kind_u85,
            constant=np.where(self.kind == POOLING, self.constant, 0.0),
            beside=np.zeros(len(self)),
            doubled=np.zeros(len(self), dtype=np.bool_),
            passes=self.passes_u85 * elements * rows,
            out_h=self.out_h / rows + resized,
            out_w=np.where(self.merged, self.out_c, self.out_w + resized),
            out_c=np.where(self.merged, self.out_w, self.out_c),
            source=self.source_u85,
            beside_source=self.beside_source_u85,
            target=self.target_u85,
            larger=self.larger_u85,
            smaller=self.smaller_u85,
            # Each part looks at all of the image.
            enlarged=np.ones(len(self)),
            **parts,
        )

    @property
    def stripes(self) -> Float64:
        """How many stripes each is worked off in, float64[n, limits + 1]: 0 for none, as without a limit.

        The last one may be lower, and counts for less.
        """
        heights = np.stack([*(getattr(self, name) for name in STRIPES), np.zeros(len(self))], axis=1)
        return np.where(heights > 0, np.maximum(self.out_h[:, None] / np.maximum(heights, 1.0), 1.0), 0.0)

    @property
    def is_matrix(self) -> Flags:
        """Whether inputs are summed over channels."""
        return np.asarray((self.kind == CONVOLUTION) | (self.kind == PRODUCT))

    @property
    def is_matrix_u85(self) -> Flags:
        """The same on U85."""
        return np.asarray((self.kind_u85 == CONVOLUTION) | (self.kind_u85 == PRODUCT))

    @property
    def is_enlarged(self) -> Flags:
        """Whether an image becomes larger by a unit for that, which U85 has."""
        larger = self.out_h * self.out_w > self.in_h * self.in_w
        return np.asarray((self.kind == ELEMENTWISE) & larger & ~self.binary)

    @property
    def is_weighted(self) -> Flags:
        """Whether there are weights, with scales and biases."""
        return np.asarray((self.kind == CONVOLUTION) | (self.kind == DEPTHWISE))

    @property
    def repeats(self) -> Float64:
        """How often weights are read: each of the convolutions that a far stride becomes reads them all."""
        return np.where(self.far == BY_OUTPUT, self.batch, 1.0)

    @property
    def mean_share(self) -> Float64:
        """Which part of a mean's kernel is stored: what is alike only once, and the rest."""
        rows = np.minimum(np.floor(MOST_MEAN_KERNEL / self.kernel_w), MOST_MEAN_HEIGHT)
        rows = np.clip(rows, 1.0, self.kernel_h)
        return np.asarray(np.where(rows < self.kernel_h, rows + self.kernel_h % rows, rows) / self.kernel_h)

    @property
    def kernel_first_u55(self) -> Flags:
        """Whether kernel elements fill the multipliers better than channels do, on U55 and U65."""
        elements = self.kernel_h * self.kernel_w
        by_depth = self.in_c / round_up(self.in_c, 32)
        by_kernel = self.in_c / round_up(self.in_c, 8) * elements / round_up(elements, 4)
        return np.asarray((self.in_c <= 8) | (by_kernel >= by_depth))

    @property
    def kernel_first_u85(self) -> Flags:
        """The same on U85, which takes twice as many at once where half of the weights are skipped."""
        elements, twice = self.kernel_h * self.kernel_w, np.where(self.sparse, 2.0, 1.0)
        rounded = np.floor(elements / (5 * twice)) * 5 * twice
        rounded += np.maximum(elements % (5 * twice), 2 * twice)
        by_kernel = self.in_c / round_up(self.in_c, 16) * (elements / rounded)
        return np.asarray(by_kernel >= self.in_c / round_up(self.in_c, 64 * twice))


def ceil_div(values: Float64, divisor: Float64 | float) -> Float64:
    """Return how many times `divisor` is needed to cover each value."""
    return np.asarray(np.ceil(values / divisor))


def round_up(values: Float64, multiple: Float64 | float) -> Float64:
    """Return the next multiple."""
    return np.asarray(np.ceil(values / multiple) * multiple)


def kernel_parts(size: Float64) -> tuple[tuple[Float64, Float64], ...]:
    """Return the sizes of the parts of a kernel's side and how often each occurs: whole ones and the rest."""
    rest = np.asarray(size % SUBKERNEL)
    whole = np.full(len(size), float(SUBKERNEL)), np.asarray(np.floor(size / SUBKERNEL))
    return whole, (rest, np.where(rest > 0, 1.0, 0.0))
