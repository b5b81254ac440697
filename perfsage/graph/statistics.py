"""Statistics of constant data: what a compressing NPU or a sparse kernel makes of the weights.

All constants of a subgraph are read in a few gathers. A constant of more than SAMPLE_ELEMENTS bytes
(WIDE_SAMPLE_ELEMENTS wider elements) is sampled: 16 runs of neighbouring elements at even distances, always
the same ones. Of large ones a quarter is read, up to MOST_SAMPLE_ELEMENTS: they make up most of a graph's
bytes, and what codes a sample of 4,096 best takes 0.3 % less for it than for all elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfsage.graph import schema
from perfsage.graph.flatbuffer import Array
from perfsage.graph.weight_coding import Coding, weight_coding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfsage.graph.columns import Columns

SAMPLE_ELEMENTS = 1 << 13
MOST_SAMPLE_ELEMENTS = 1 << 15
SAMPLED_SHARE = 4
WIDE_SAMPLE_ELEMENTS = 1 << 10
"""The sample of elements above 8 bits, which have to be sorted."""
SAMPLE_RUNS = 16
TOTAL_ELEMENTS = 1 << 23
"""All tensors of a subgraph share this budget: above 256 tensors, large ones are sampled more thinly."""
_ROWS_AT_ONCE = 256
_SMALL = 1 << 10


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Statistics of a constant tensor's stored elements.

    `sparsity` is the share of elements that equal the zero point (0 without quantization; the first zero
    point where channels differ). `entropy_bits` is Shannon's entropy of the elements' values, in bits per
    element; `distinct` counts the values. `bit_width` is the width of the narrowest signed integer that
    holds every element minus the zero point, and the type's own width for floats. The last five say what an
    NPU's code makes of 8-bit elements (see `weight_coding`; the type's width, or 0, for wider ones). Large
    constants are sampled: see the module.
    """

    sparsity: float
    entropy_bits: float
    distinct: int
    bit_width: int
    plain_bits: float
    zero_bits: float
    nonzero_bits: float
    common_share: float
    palette_bits: float


class ColumnStatistics(NamedTuple):
    """TensorStatistics of all tensors of a subgraph; `known` is False where a tensor has none."""

    known: Array
    sparsity: Array
    entropy_bits: Array
    distinct: Array
    bit_width: Array
    plain_bits: Array
    zero_bits: Array
    nonzero_bits: Array
    common_share: Array
    palette_bits: Array

    def row(self, index: int) -> TensorStatistics | None:
        """Return the statistics of one tensor, or None when it has none."""
        if not self.known[index]:
            return None
        return TensorStatistics(
            float(self.sparsity[index]),
            float(self.entropy_bits[index]),
            int(self.distinct[index]),
            int(self.bit_width[index]),
            float(self.plain_bits[index]),
            float(self.zero_bits[index]),
            float(self.nonzero_bits[index]),
            float(self.common_share[index]),
            float(self.palette_bits[index]),
        )


def column_statistics(columns: Columns) -> ColumnStatistics:
    """Return the statistics of all constant tensors whose elements have 64 bits at most."""
    return statistics_of([columns])[0]


def statistics_of(many: Sequence[Columns], wanted: Sequence[Array] | None = None) -> list[ColumnStatistics]:
    """Return the statistics of several subgraphs' tensors, which are worked out together.

    Where `wanted` bool[tensors] are given for each subgraph, others are not looked at, and not known.
    """
    known = [_known(columns) for columns in many]
    if wanted is not None:
        known = [there & asked for there, asked in zip(known, wanted, strict=True)]
    starts = np.cumsum([0, *map(len, known)])
    total = int(starts[-1])
    found = ColumnStatistics(
        np.concatenate([*known, np.zeros(0, np.bool_)]),
        *(np.zeros(total) for _ in range(2)),
        *(np.zeros(total, np.int64) for _ in range(2)),
        *(np.zeros(total) for _ in Coding._fields),
    )
    kinds = np.concatenate([columns.tensor_type for columns in many] or [found.known])
    points = [_zero_points(*part) for part in zip(many, known, strict=True)]
    zeros = np.concatenate(points or [found.distinct])
    for kind in sorted(set(kinds[found.known].tolist())):
        tensors = np.flatnonzero(found.known & (kinds == kind))
        for begin in range(0, len(tensors), _ROWS_AT_ONCE):
            _fill(found, many, starts, tensors[begin : begin + _ROWS_AT_ONCE], kind, zeros)
    return [
        ColumnStatistics(*(column[begin:end] for column in found))
        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    ]


def statistics_at(many: Sequence[Columns], tensors: Array) -> ColumnStatistics:
    """Return the statistics of `tensors` int64[k], counted over several subgraphs; none behind the last.

    Only these are read, which most often are the weights among all constants, and each of them once.
    """
    starts = np.cumsum([0, *(len(columns.tensor_type) for columns in many)])
    asked = np.zeros(starts[-1] + 1, np.bool_)
    asked[tensors] = True
    wanted = [asked[begin:end] for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
    missing = [columns.unread(mask) for columns, mask in zip(many, wanted, strict=True)]
    some = [place for place, mask in enumerate(missing) if mask.any()]
    made = statistics_of([many[place] for place in some], [missing[place] for place in some])
    for place, statistics in zip(some, made, strict=True):
        many[place].keep_some_statistics(statistics, missing[place])
    columns = zip(*(columns.read_statistics for columns in many), strict=True)
    return ColumnStatistics(*(np.append(np.concatenate(column), 0)[tensors] for column in columns))


def _known(columns: Columns) -> Array:
    """Return which tensors have elements that can be read."""
    bits = schema.type_bits()[columns.tensor_type]
    known: Array = (
        columns.tensor_is_constant & (columns.tensor_constant_start >= 0) & (bits > 0) & (bits <= 64)
    )
    return known & (columns.tensor_constant_bytes >= (bits + 7) >> 3)


def _fill(
    found: ColumnStatistics,
    many: Sequence[Columns],
    starts: Array,
    tensors: Array,
    kind: int,
    zeros: Array,
) -> None:
    """Fill in the statistics of `tensors`, counted over all subgraphs, which all have the same type."""
    name, bits = schema.type_name(kind), int(schema.type_bits()[kind])
    measure = _narrow if bits <= 8 else _wide
    bounds = np.searchsorted(tensors, starts)
    samples: list[Array] = []
    for place in np.flatnonzero(np.diff(bounds)).tolist():
        own = tensors[bounds[place] : bounds[place + 1]] - starts[place]
        samples += _samples(many[place], own, name, bits)
    values = measure(samples, zeros[tensors], name, bits)
    for column, part in zip(found[1:], values, strict=True):
        column[tensors] = part


def _samples(columns: Columns, tensors: Array, name: str, bits: int) -> list[Array]:
    """Return a sample of each tensor: integers, the bits of floats, or bytes for elements of up to 8 bits."""
    least = SAMPLE_ELEMENTS if bits <= 8 else WIDE_SAMPLE_ELEMENTS
    budget = max(TOTAL_ELEMENTS // len(columns.tensor_type), SAMPLE_RUNS)
    unit = max(bits // 8, 1)
    dtype = f"<{'i' if name.startswith('INT') else 'u'}{unit}" if unit > 1 else "|u1"
    units = columns.tensor_constant_bytes[tensors] // unit
    limits = np.minimum(sample_elements(units) if bits == 8 else least, budget)
    places = zip(
        columns.tensor_constant_start[tensors].tolist(),
        units.tolist(),
        np.broadcast_to(limits, units.shape).tolist(),
        columns.tensor_elements[tensors].tolist(),
        strict=True,
    )
    samples = []
    data, view = columns.buffer.data, columns.buffer.view(dtype)
    for start, count, limit, elements in places:
        if count <= limit:
            codes = view[start : start + count * unit : unit]
        else:
            strides = (count // SAMPLE_RUNS * unit, unit)
            shape = (SAMPLE_RUNS, limit // SAMPLE_RUNS)
            codes = np.ndarray(shape, dtype, data, start, strides).ravel()
        samples.append(codes if bits >= 8 else _unpack(codes, bits)[: max(elements, 1)])
    return samples


def sample_elements(elements: Array) -> Array:
    """Return how many elements of 8 bits are read at most of so many."""
    most: Array = np.clip(elements // SAMPLED_SHARE, SAMPLE_ELEMENTS, MOST_SAMPLE_ELEMENTS)
    return most


def _unpack(codes: Array, bits: int) -> Array:
    """Split bytes into elements of fewer than 8 bits, the lowest bits first, sign-extended to bytes."""
    parts: Array = codes[:, None] << np.arange(8 - bits, -1, -bits).astype(np.uint8)
    elements: Array = (parts.astype(np.int8) >> (8 - bits)).view(np.uint8)
    return elements.ravel()


def _narrow(samples: list[Array], zeros: Array, name: str, bits: int) -> tuple[Array, ...]:
    """Return ColumnStatistics from `sparsity` on of rows of bytes, all from their histograms."""
    counts = np.array([len(codes) for codes in samples])
    histogram = _histograms(samples, counts)
    lowest = -128 if name.startswith("INT") else 0
    inside = (zeros >= lowest) & (zeros < lowest + 256)
    zero_count = histogram[np.arange(len(zeros)), zeros & 255] * inside
    # Rolled so that the lowest value comes first: bytes of negative numbers are the larger ones.
    histogram = np.roll(histogram, -lowest, axis=1)
    present = histogram > 0
    low, high = present.argmax(axis=1) + lowest, 255 + lowest - present[:, ::-1].argmax(axis=1)
    distinct = present.sum(axis=1)
    entropy = np.abs(np.log2(counts) - _count_logs().take(histogram).sum(axis=1) / counts)
    entropy[distinct == 1] = 0.0
    coding = weight_coding(histogram, lowest, np.where(inside, zeros, 0))
    return zero_count / counts, entropy, distinct, _widths(low - zeros, high - zeros), *coding


def _histograms(samples: list[Array], counts: Array) -> Array:
    """Return how often each byte occurs in each sample, int32[t, 256]."""
    if counts.sum() > _SMALL * len(counts):
        single = [np.bincount(codes, minlength=256) for codes in samples]
        return np.concatenate(single, dtype=np.int32).reshape(-1, 256)
    # Small samples are counted together: a call takes as long as some hundred elements. Row and byte fit
    # into 16 bits, which are faster to put together.
    keys = np.repeat(np.arange(0, 256 * len(counts), 256, dtype=np.uint16), counts)
    keys |= np.concatenate(samples)
    found = np.bincount(keys.astype(np.intp), minlength=256 * len(counts))
    return found.reshape(-1, 256).astype(np.int32)


@cache
def _count_logs() -> Array:
    """Return n log2(n) of every count that a sample of elements of 8 bits or fewer may have."""
    counts = np.arange(8 * SAMPLE_ELEMENTS + 1, dtype=np.float64)
    return counts * np.log2(np.maximum(counts, 1.0))


def _wide(samples: list[Array], zeros: Array, name: str, bits: int) -> tuple[Array, ...]:
    """Return ColumnStatistics from `sparsity` on of rows of wider elements, after sorting them."""
    counts = np.array([len(codes) for codes in samples])
    codes, rows = _sorted(np.concatenate(samples).astype(np.int64), np.repeat(np.arange(len(counts)), counts))
    ends = np.cumsum(counts)
    changes = (codes[1:] != codes[:-1]) | (rows[1:] != rows[:-1])
    heads = np.concatenate([[0], np.flatnonzero(changes) + 1])
    share = np.diff(np.append(heads, len(codes))) / counts[rows[heads]]
    entropy = np.abs(np.bincount(rows[heads], -share * np.log2(share), len(counts)))
    distinct = np.bincount(rows[heads], minlength=len(counts))
    if "FLOAT" in name or "COMPLEX" in name:
        # Shifting the sign out makes the bits of -0.0 those of 0.0.
        is_zero, width = (codes << (65 - bits)) == 0, np.full(len(counts), bits)
    else:
        is_zero = codes == zeros[rows]
        width = _widths(codes[ends - counts] - zeros, codes[ends - 1] - zeros)
    zero_share = np.add.reduceat(is_zero, ends - counts, dtype=np.int64) / counts
    plain = np.full(len(counts), float(bits))
    nothing = np.zeros(len(counts))
    return zero_share, entropy, distinct, width, plain, plain, plain, nothing, nothing


def _sorted(codes: Array, rows: Array) -> tuple[Array, Array]:
    """Return the codes sorted within their rows; one sort of (row, code) pairs where both fit 64 bits."""
    if codes.min() >= -(1 << 31) and codes.max() < 1 << 32:
        keys = np.sort((rows << 33) + (codes + (1 << 31)))
        return (keys & ((1 << 33) - 1)) - (1 << 31), keys >> 33
    order = np.lexsort((codes, rows))
    return codes[order], rows[order]


def _widths(low: Array, high: Array) -> Array:
    """Return the bits of the narrowest two's complement integer that holds both ends of each range."""
    magnitude = np.maximum(np.maximum(high, 0), -np.minimum(low, 0) - 1)
    widths: Array = np.frexp(magnitude.astype(np.float64))[1] + 1
    return np.minimum(widths, 64)


def _zero_points(columns: Columns, known: Array) -> Array:
    """Return the first zero point of each tensor that is `known` bool[tensors]; 0 where it has none."""
    zeros = np.zeros(len(columns.tensor_type), np.int64)
    offsets = columns.tensor_fields[:, schema.slots("Tensor")["quantization"]]
    rows = np.flatnonzero((offsets > 0) & known)
    buffer, what = columns.buffer, "a tensor's quantization"
    if len(rows):
        where = columns.tensor_position[rows] + offsets[rows]
        tables = where + buffer.at(buffer.u4, where, what)
        slot = schema.slots("QuantizationParameters")["zero_point"]
        fields = buffer.fields(tables, slot + 1, what)
        starts, lengths = buffer.vectors(tables, fields[:, slot], 8, what)
        some = lengths > 0
        zeros[rows[some]] = buffer.i8[starts[some]]
    return zeros
