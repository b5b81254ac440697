"""The Ethos-U accelerators as their compiler's performance estimate sees them.

Figures are those of Arm's Vela 5 (Apache-2.0): `ethos_u55.cpp`, `ethos_u55_performance.cpp`, `ethos_u85.cpp`.
Only 8-bit data is described: nothing else is accelerated often enough to be worth columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Block = tuple[int, int, int]
"""Height, width, channels."""

OUTPUT_KINDS = ("mul", "add", "max_pool", "other")
"""What decides how many cycles an output element takes: the last one is everything else."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory of the default system: bytes a cycle, bytes that are moved at once, cycles of latency.

    `reading`, `writing` and `weights` are by how much one channel alone is slower.
    """

    rate: float
    burst: int
    read_latency: float
    write_latency: float
    reading: float = 1.0
    writing: float = 1.0
    weights: float = 1.0

    @property
    def is_dram(self) -> bool:
        """Whether activations may lie in it."""
        return self.write_latency > 0 and self.burst > 64


class IntegerCycles(NamedTuple):
    """Cycles of an element of arithmetic on integers of 32 bits, from Vela's own tables.

    With `one` integer coming in, with `two`, with two where the result is handed on to what follows
    (`chained`, which U85 alone does), and with two bytes whose `product` is an integer.
    """

    one: float
    two: float
    chained: float
    product: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """One accelerator; `microblocks` are the blocks of outputs that it computes at once.

    `output_cycles` are cycles an element by OUTPUT_KINDS, `table_cycles` those of an element that goes
    through a look-up table, `relu_cycles` those of one that is clamped.
    """

    generation: int
    macs: int
    cores: int = 1
    microblocks: tuple[Block, ...]
    output_cycles: tuple[float, float, float, float]
    table_cycles: float
    relu_cycles: float
    banks: int = 0
    """Kilobytes of the shared buffer of one core (U55 and U65)."""
    input_granule: int = 1
    sum_granule: int = 1
    """Banks of inputs and of accumulators come in multiples of these."""
    sum_bytes: int = 0
    input_bytes: int = 0
    """Memory for accumulators and for inputs (U85)."""
    output_bytes: int = 0
    input_units: tuple[tuple[Block, Block, Block], ...] = ()
    """What inputs are kept in multiples of, by the microblock: for up to 16, up to 32 and more channels of a
    block; the last is bytes in sixteens (U85)."""
    integer_cycles: IntegerCycles
    chained_area: int = 1
    """Pixels of a block of arithmetic whose result goes to what follows (U85)."""
    near: Memory
    far: Memory
    """The SRAM beside the accelerator, and where constants are: flash, or DRAM."""
    spill: int = 1 << 30
    """The position in SPILL_BYTES of what fits into its SRAM, counted from 1."""

    @property
    def edge(self) -> Memory:
        """Where the application has what enters and leaves the graph."""
        return self.far if self.far.is_dram else self.near

    @property
    def name(self) -> str:
        """The name without its prefix, such as u55_128."""
        return f"u{self.generation}_{self.macs * (self.cores if self.generation == 65 else 1)}"


def _sram(rate: float, burst: int, latency: float, alone: float = 1.0) -> Memory:
    return Memory(rate, burst, latency, latency, alone, alone, alone)


def _flash(rate: float, latency: float) -> Memory:
    return Memory(rate, 128, latency, 0.0)


def _dram(rate: float, reading: float = 1.0, writing: float = 1.0, weights: float = 1.0) -> Memory:
    return Memory(rate, 128, 500.0, 250.0, reading, writing, weights)


def _u55(
    macs: int,
    microblock: Block,
    banks: int,
    granules: tuple[int, int],
    cycles: tuple[float, float, float, float, float],
    integer_cycles: tuple[float, float, float],
) -> Geometry:
    one, two, product = integer_cycles
    return Geometry(
        generation=55,
        macs=macs,
        microblocks=(microblock,),
        banks=banks,
        input_granule=granules[0],
        sum_granule=granules[1],
        output_cycles=(cycles[0], cycles[1], cycles[2], cycles[3]),
        table_cycles=1.0,
        relu_cycles=cycles[4],
        integer_cycles=IntegerCycles(one, two, 0.0, product),
        near=_sram(8.0, 32, 32.0),
        far=_flash(0.5 if macs <= 64 else 1.0, 64.0),
    )


def _u65(cores: int) -> Geometry:
    return Geometry(
        generation=65,
        macs=256,
        cores=cores,
        microblocks=((2, 2, 8),),
        banks=48,
        input_granule=8,
        sum_granule=16,
        output_cycles=(0.375 / cores, 0.75 / cores, 0.125 / cores, 0.25 / cores),
        table_cycles=1.0 / cores,
        relu_cycles=0.25 / cores,
        integer_cycles=IntegerCycles(0.625 / cores, 1.125 / cores, 0.0, 0.5 / cores),
        near=_sram(16.0, 32, 32.0),
        far=_dram(3.75) if cores > 1 else _flash(1.0, 64.0),
    )


def _u85(
    macs: int,
    blocks: tuple[Block, ...],
    cycles: tuple[float, float],
    buffers: tuple[int, int, int],
    units: tuple[tuple[Block, Block, Block], ...],
    memories: tuple[Memory, Memory],
    integer_cycles: tuple[float, float, float],
) -> Geometry:
    element, table = cycles
    one, two, chained = integer_cycles
    return Geometry(
        generation=85,
        macs=macs,
        cores={128: 1, 256: 1, 512: 2}.get(macs, 4),
        microblocks=blocks,
        output_cycles=(element, element, element, element),
        table_cycles=table,
        relu_cycles=element,
        sum_bytes=buffers[0],
        input_bytes=buffers[1],
        output_bytes=buffers[2],
        input_units=units,
        integer_cycles=IntegerCycles(one, two, chained, one),
        chained_area=macs // 64,
        near=memories[0],
        far=memories[1],
        spill={512: 1, 1024: 2, 2048: 3}.get(macs, 1 << 30),
    )


_LOW = ((1, 2, 1), (1, 1, 2), (1, 1, 2))
_SQUARE, _ROW = ((2, 2, 1), (1, 2, 2), (1, 1, 4)), ((1, 4, 1), (1, 2, 2), (1, 1, 4))
_SQUARE_1024, _ROW_1024 = ((2, 4, 1), (2, 2, 2), (1, 2, 4)), ((2, 4, 1), (1, 4, 2), (1, 2, 4))
_SQUARE_2048, _ROW_2048 = ((4, 4, 1), (2, 4, 2), (2, 2, 4)), ((4, 4, 1), (2, 4, 2), (1, 4, 4))

GEOMETRIES = (
    _u55(32, (1, 1, 4), 16, (2, 4), (3.0, 6.0, 1.0, 2.0, 1.0), (2.0, 3.0, 3.0)),
    _u55(64, (1, 1, 8), 16, (2, 4), (1.5, 3.0, 0.5, 1.0, 1.0), (1.0, 1.5, 1.5)),
    _u55(128, (1, 2, 8), 24, (4, 8), (0.75, 1.5, 0.25, 0.5, 0.5), (0.75, 1.25, 0.75)),
    _u55(256, (2, 2, 8), 48, (8, 16), (0.375, 0.75, 0.125, 0.25, 0.25), (0.625, 1.125, 0.5)),
    _u65(1),
    _u65(2),
    _u85(
        128,
        ((1, 2, 8), (1, 1, 16)),
        (0.5, 0.5),
        (8192, 8192, 768),
        (_LOW, _LOW),
        (_sram(32.0, 64, 8.0), _flash(1.0, 32.0)),
        (0.5, 1.0, 1.0),
    ),
    _u85(
        256,
        ((1, 2, 16), (1, 4, 8), (2, 2, 8)),
        (0.25, 0.25),
        (16384, 16384, 1536),
        (_SQUARE, _ROW, _SQUARE),
        (_sram(32.0, 64, 32.0, 1.5625), _flash(1.0, 64.0)),
        (0.25, 0.5, 0.5),
    ),
    _u85(
        512,
        ((2, 2, 16), (1, 4, 16)),
        (0.125, 0.125),
        (32768, 16384, 3072),
        (_SQUARE, _ROW),
        (_sram(32.0, 64, 16.0), _dram(7.5, 2.289, 1.907, 1.907)),
        (0.25, 0.25, 0.25),
    ),
    _u85(
        1024,
        ((2, 2, 32), (1, 4, 32), (2, 4, 16)),
        (0.0625, 0.0625),
        (65536, 16384, 6144),
        (_SQUARE_1024, _ROW_1024, _SQUARE_1024),
        (_sram(32.0, 64, 32.0, 1.5625), _dram(12.0, 1.831, 1.144, 1.144)),
        (0.25, 0.25, 0.125),
    ),
    _u85(
        2048,
        ((2, 2, 64), (1, 4, 64), (4, 4, 16)),
        (0.03125, 0.0625),
        (131072, 32768, 12288),
        (_SQUARE_2048, _ROW_2048, _SQUARE_2048),
        (_sram(64.0, 64, 32.0, 1.5625), _dram(24.0, 3.662, 1.144, 1.831)),
        (0.125, 0.125, 0.0625),
    ),
)
GEOMETRY_NAMES = tuple(geometry.name for geometry in GEOMETRIES)


IS_U85 = [int(geometry.generation == 85) for geometry in GEOMETRIES]
"""1 where an accelerator is of the generation with rules of its own."""


def geometry_of(descriptors: Mapping[str, float]) -> int | None:
    """Return the position in GEOMETRIES of a device with these descriptors, None where there is none.

    Reads `generation` and `macs_per_cycle`, as `profilers.npu` gives them.
    """
    name = f"u{descriptors.get('generation', 0):.0f}_{descriptors.get('macs_per_cycle', 0):.0f}"
    return GEOMETRY_NAMES.index(name) if name in GEOMETRY_NAMES else None
